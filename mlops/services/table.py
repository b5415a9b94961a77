"""A service whose operations stand in a table: what its requests and answers have in common."""

from __future__ import annotations

from collections.abc import Mapping

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.answers import wire_answer
from mlops.services.operation import Handler
from mlops.services.validation import checked_request


class TableService:
    """Requests in, answers out, both as botocore's model of `service` has them. Thread-safe."""

    def __init__(
        self,
        service: str,
        handlers: Mapping[str, Handler],
        *,
        invalid_code: str = "ValidationException",
    ) -> None:
        """`invalid_code`: what the service calls a request that breaks its model."""
        self._service = service
        self._handlers = handlers
        self._invalid_code = invalid_code

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations that are answered."""
        return tuple(self._handlers)

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        """Answer one operation; the answer is ready for JSON.

        Raises:
            ServiceError: as AWS answers; ``NotImplemented`` (501) for an operation of the service's
                that is not answered here.
        """
        handler = self._handlers.get(operation)
        if handler is None:
            known = operation in aws_model.load_service(self._service).operation_names
            raise ServiceError(
                "NotImplemented" if known else "UnknownOperationException",
                f"The local gateway does not answer {self._service} {operation}; it answers "
                + ", ".join(self._handlers),
                status=501 if known else 400,
            )
        return wire_answer(self._service, operation, handler(self._checked(operation, request)))

    def _checked(self, operation: str, request: JsonObject) -> JsonObject:
        try:
            return checked_request(self._service, operation, request)
        except ServiceError as error:
            if error.code != "ValidationException":
                raise
            raise ServiceError(self._invalid_code, error.what) from error
