"""The distribution API's errors: its codes, and which of them ECR's errors become.

Codes and the form of an answer: the OCI distribution specification, "Error codes"; ``TAG_INVALID``
and ``RANGE_INVALID`` are Docker's (its registry's ``errcode``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from mlops.errors import DiskFull, MlopsError, NoSuchBlob, ServiceError


class RegistryError(ServiceError):
    """An error answer with headers of its own."""

    def __init__(
        self, code: str, message: str, *, status: int, headers: Mapping[str, str] | None = None
    ) -> None:
        self.headers = headers or {}
        super().__init__(code, message, status=status)


_OF_ECR: Mapping[str, tuple[str, int]] = {
    "RepositoryNotFoundException": ("NAME_UNKNOWN", 404),
    "ImageNotFoundException": ("MANIFEST_UNKNOWN", 404),
    "ImageTagAlreadyExistsException": ("TAG_INVALID", 400),
    "ImageDigestDoesNotMatchException": ("DIGEST_INVALID", 400),
    "LayersNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "ReferencedImagesNotFoundException": ("MANIFEST_BLOB_UNKNOWN", 404),
    "InvalidParameterException": ("MANIFEST_INVALID", 400),
    "UploadNotFoundException": ("BLOB_UPLOAD_UNKNOWN", 404),
    "InvalidLayerException": ("DIGEST_INVALID", 400),
    "InvalidLayerPartException": ("BLOB_UPLOAD_INVALID", 409),
    "LimitExceededException": ("SIZE_INVALID", 413),
    "IncompleteBody": ("BLOB_UPLOAD_INVALID", 400),
    "RequestTimeout": ("BLOB_UPLOAD_INVALID", 400),
    "InvalidArgument": ("SIZE_INVALID", 400),
    "MaxMessageLengthExceeded": ("MANIFEST_INVALID", 413),
}


def registry_error(error: MlopsError) -> RegistryError:
    """Any of our errors as one that a registry's client understands."""
    if isinstance(error, RegistryError):
        return error
    if isinstance(error, NoSuchBlob):
        return unknown_blob()
    if isinstance(error, DiskFull):
        return RegistryError("UNKNOWN", str(error), status=507)
    code = error.code if isinstance(error, ServiceError) else ""
    own, status = _OF_ECR.get(code, ("UNKNOWN", 500))
    return RegistryError(own, str(error), status=status)


def error_document(error: RegistryError) -> bytes:
    return json.dumps({"errors": [{"code": error.code, "message": str(error)}]}).encode()


def unknown_blob() -> RegistryError:
    return RegistryError("BLOB_UNKNOWN", "The repository has no such layer", status=404)


def unauthorized(challenge: str) -> RegistryError:
    return RegistryError(
        "UNAUTHORIZED",
        "Log in with the password of GetAuthorizationToken, which is valid for twelve hours: "
        "aws ecr get-login-password | docker login -u AWS --password-stdin",
        status=401,
        headers={"WWW-Authenticate": challenge},
    )


def unsupported(message: str) -> RegistryError:
    return RegistryError("UNSUPPORTED", message, status=405)
