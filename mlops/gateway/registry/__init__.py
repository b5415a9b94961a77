"""The OCI distribution API, version 2, over the repositories of ECR."""

from mlops.gateway.registry.face import RegistryFace

__all__ = ["RegistryFace"]
