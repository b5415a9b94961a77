"""The operations of ECR that are answered, and why some are not.

Members, limits and errors are those of botocore's model of ``ecr``. Requests come here checked
by it.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.ecr.image_operations import ImageOperations
from mlops.services.ecr.layer_operations import LayerOperations
from mlops.services.ecr.lifecycle_operations import LifecycleOperations
from mlops.services.ecr.registry import Registry
from mlops.services.ecr.repository_operations import RepositoryOperations
from mlops.services.table import TableService

_NO_SCANNER = "nothing here scans images"
_NO_PREVIEW = "PutLifecyclePolicy carries a policy out at once"
_REFUSED: Mapping[str, str] = {
    "StartImageScan": _NO_SCANNER,
    "DescribeImageScanFindings": _NO_SCANNER,
    "StartLifecyclePolicyPreview": _NO_PREVIEW,
    "GetLifecyclePolicyPreview": _NO_PREVIEW,
}


class EcrService(TableService):
    """ECR over a `Registry`. Thread-safe."""

    def __init__(self, registry: Registry) -> None:
        lifecycle = LifecycleOperations(registry)
        self.keep_house = lifecycle.carry_out_when_due
        """To be called before whatever shows what a registry has."""
        super().__init__(
            "ecr",
            {
                **RepositoryOperations(registry).handlers,
                **ImageOperations(registry).handlers,
                **LayerOperations(registry).handlers,
                **lifecycle.handlers,
            },
            invalid_code="InvalidParameterException",
        )

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        """As `TableService.handle`."""
        reason = _REFUSED.get(operation)
        if reason is not None:
            raise ServiceError(
                "NotImplemented",
                f"The local gateway does not answer ecr {operation}: {reason}",
                status=501,
            )
        self.keep_house()
        return super().handle(operation, request)
