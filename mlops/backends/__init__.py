"""Where a pipeline runs: here, behind the gateway, or in the user's account."""

from mlops.backends.base import Backend, StartOptions
from mlops.backends.cloud import CloudBackend
from mlops.backends.local import LocalBackend

__all__ = ["Backend", "CloudBackend", "LocalBackend", "StartOptions"]
