"""The resource types that are made here, each a class; the rest is refused by name."""

from collections.abc import Mapping

from mlops.services.cloudformation.types.base import Aws, Made, NotStable, ResourceType, is_missing
from mlops.services.cloudformation.types.compute import Function, LogGroup, Queue, Rule
from mlops.services.cloudformation.types.iam import ManagedPolicy, Policy, Role
from mlops.services.cloudformation.types.s3 import Bucket, BucketPolicy
from mlops.services.cloudformation.types.sagemaker import (
    Endpoint,
    EndpointConfig,
    Model,
    ModelPackage,
    ModelPackageGroup,
    Pipeline,
)
from mlops.services.cloudformation.types.stores import Parameter, Repository

TYPES: Mapping[str, ResourceType] = {
    each.type: each
    for each in (
        Bucket(),
        BucketPolicy(),
        Endpoint(),
        EndpointConfig(),
        Function(),
        LogGroup(),
        ManagedPolicy(),
        Model(),
        ModelPackage(),
        ModelPackageGroup(),
        Parameter(),
        Pipeline(),
        Policy(),
        Queue(),
        Repository(),
        Role(),
        Rule(),
    )
}

__all__ = ["TYPES", "Aws", "Made", "NotStable", "ResourceType", "is_missing"]
