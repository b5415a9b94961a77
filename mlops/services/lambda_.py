"""The Lambda service: every operation that is answered here, under its AWS name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mlops.errors import ServiceError
from mlops.ports import FunctionHost, JsonObject
from mlops.services.answers import wire_answer
from mlops.services.operation import Handler
from mlops.services.validation import checked_request

SERVICE = "lambda"
MOST_LISTED = 50
"""Functions on a page (botocore lambda ``ListFunctionsRequest``)."""


class Functions(FunctionHost, Protocol):
    """What the service needs beyond what steps do; ``mlops.functions.FunctionManager`` has it."""

    def update_function_configuration(self, request: JsonObject) -> JsonObject: ...
    def list_functions(self) -> Sequence[JsonObject]: ...
    def get_tags(self, arn: str) -> Mapping[str, str]: ...
    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None: ...
    def delete_tags(self, arn: str, keys: Sequence[str]) -> None: ...


class LambdaService:
    """Requests in, answers out, both as botocore's service model has them. Thread-safe."""

    def __init__(self, functions: Functions) -> None:
        self._functions = functions
        self._handlers: Mapping[str, Handler] = {
            "CreateFunction": functions.create_function,
            "UpdateFunctionCode": functions.update_function_code,
            "UpdateFunctionConfiguration": functions.update_function_configuration,
            "GetFunction": self._get,
            "GetFunctionConfiguration": self._get_configuration,
            "ListFunctions": self._list,
            "DeleteFunction": self._delete,
            "Invoke": functions.invoke,
            "ListTags": self._list_tags,
            "TagResource": self._tag,
            "UntagResource": self._untag,
        }

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations that are answered."""
        return tuple(self._handlers)

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        """Answer one operation; blobs are bytes in the request and in the answer.

        Raises:
            ServiceError: as AWS answers; ``NotImplemented`` (501) for an operation of Lambda's that
                is not answered here.
        """
        handler = self._handlers.get(operation)
        if handler is None:
            raise ServiceError(
                "NotImplemented",
                f"The local gateway does not answer lambda {operation}: it has "
                f"{', '.join(self._handlers)}",
                status=501,
            )
        answer = handler(checked_request(SERVICE, operation, request))
        return wire_answer(SERVICE, operation, answer)

    def _get(self, request: JsonObject) -> JsonObject:
        return self._functions.get_function(_qualified(request))

    def _get_configuration(self, request: JsonObject) -> JsonObject:
        configuration: JsonObject = self._get(request)["Configuration"]
        return configuration

    def _delete(self, request: JsonObject) -> JsonObject:
        self._functions.delete_function(_qualified(request))
        return {}

    def _list(self, request: JsonObject) -> JsonObject:
        after = request.get("Marker", "")
        found = [each for each in self._functions.list_functions() if each["FunctionName"] > after]
        page = found[: min(request.get("MaxItems", MOST_LISTED), MOST_LISTED)]
        more = len(found) > len(page)
        return {"Functions": page, "NextMarker": page[-1]["FunctionName"] if more else None}

    def _list_tags(self, request: JsonObject) -> JsonObject:
        return {"Tags": dict(self._functions.get_tags(request["Resource"]))}

    def _tag(self, request: JsonObject) -> JsonObject:
        self._functions.set_tags(request["Resource"], request["Tags"])
        return {}

    def _untag(self, request: JsonObject) -> JsonObject:
        self._functions.delete_tags(request["Resource"], request["TagKeys"])
        return {}


def _qualified(request: JsonObject) -> str:
    """A function's name with the qualifier that a request has apart from it."""
    name, qualifier = str(request["FunctionName"]), request.get("Qualifier")
    return f"{name}:{qualifier}" if qualifier else name
