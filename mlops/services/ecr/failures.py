"""ECR's errors, by the codes of botocore's model of ``ecr``."""

from __future__ import annotations

from mlops.errors import ServiceError


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def no_repository(name: str, registry_id: str) -> ServiceError:
    return ServiceError(
        "RepositoryNotFoundException",
        f"The repository with name '{name}' does not exist in the registry with id '{registry_id}'",
    )


def no_image(name: str, registry_id: str, identity: str) -> ServiceError:
    return ServiceError(
        "ImageNotFoundException",
        f"The image with imageId {identity} does not exist within the repository with name "
        f"'{name}' in the registry with id '{registry_id}'",
    )


def no_upload(upload: str, name: str) -> ServiceError:
    return ServiceError(
        "UploadNotFoundException",
        f"The upload '{upload}' does not exist in the repository with name '{name}'",
    )
