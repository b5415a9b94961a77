"""SendPipelineExecutionStepSuccess and SendPipelineExecutionStepFailure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.operation import Handler


class Answers(Protocol):
    """What these operations need of ``mlops.execution.Callbacks``."""

    def succeed(self, token: str, values: Mapping[str, str]) -> str: ...
    def fail(self, token: str, reason: str | None) -> str: ...


class CallbackOperations:
    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "SendPipelineExecutionStepSuccess": self._succeed,
            "SendPipelineExecutionStepFailure": self._fail,
        }

    def _succeed(self, request: JsonObject) -> JsonObject:
        given = request.get("OutputParameters", ())
        values = {each["Name"]: each["Value"] for each in given}
        if len(values) < len(given):
            raise ServiceError("ValidationException", "Two OutputParameters have the same Name")
        return {"PipelineExecutionArn": self._answers.succeed(request["CallbackToken"], values)}

    def _fail(self, request: JsonObject) -> JsonObject:
        reason = request.get("FailureReason")
        return {"PipelineExecutionArn": self._answers.fail(request["CallbackToken"], reason)}
