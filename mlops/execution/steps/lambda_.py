"""The Lambda step: invokes a function and keeps what its answer says.

What the service does is in the developer guide ("Lambda step"): the function's answer is a JSON
object with a member for each output parameter, and a step takes ten minutes at most. How it words
a failure is not to be found in public; the words here are ours.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

from mlops.definition import LambdaStep, OutputParameter, OutputType, render_text
from mlops.errors import MlopsError, ServiceError
from mlops.execution.failures import StepFailure
from mlops.execution.step_run import Announcement, StepResult, StepRun
from mlops.execution.stopping import STOP_GRACE_SECONDS, StepStopped
from mlops.ports import FunctionHost, JsonObject, StepStatus

MAXIMUM_SECONDS = 600.0
LONGEST_VALUE = 1024  # botocore sagemaker OutputParameter.Value
_SHOWN = 300


class LambdaExecutor:
    """Carries out Lambda steps through the function host."""

    def __init__(self, maximum_seconds: float = MAXIMUM_SECONDS) -> None:
        self._maximum_seconds = maximum_seconds

    def run(self, run: StepRun) -> StepResult:
        step = run.step
        if not isinstance(step, LambdaStep):
            raise AssertionError(f"{step.name} came to the executor of Lambda steps")
        arn = str(step.function_arn.resolve(run.scope))
        event = json.dumps(run.resolve_arguments()).encode()
        run.announce(Announcement(None, {"Lambda": {"Arn": arn}}, {}))
        clock = run.parts.clock
        started = clock.monotonic()
        answer = self._invoke(run, arn, event)
        seconds = clock.monotonic() - started
        _keep_log(run, answer)
        outputs = read_outputs(arn, answer, step.output_parameters)
        return StepResult(
            status=StepStatus.SUCCEEDED,
            metadata={"Lambda": {"Arn": arn, "OutputParameters": _listed(outputs)}},
            outputs={"OutputParameters": outputs},
            detail=_detail(outputs) or arn.rpartition(":")[2],
            process_seconds=seconds,
        )

    def _invoke(self, run: StepRun, arn: str, event: bytes) -> JsonObject:
        functions = run.parts.functions
        if functions is None:
            raise _refused("there are no functions here")
        call = _Call(functions, {"FunctionName": arn, "Payload": event, "LogType": "Tail"})
        run.stop.attach(call)
        try:
            return call.result(self._maximum_seconds)
        except ServiceError as error:
            raise _refused(error) from error
        except TimeoutError:
            raise StepFailure(
                f"ClientError: The Lambda function {arn} has not answered within "
                f"{self._maximum_seconds:g} seconds, which is the limit of a Lambda step"
            ) from None


class _Call:
    """An invocation in a thread of its own, so that it need not be waited for.

    Lambda has no way to end an invocation: who stops waiting leaves it to its time-out.
    """

    def __init__(self, functions: FunctionHost, request: JsonObject) -> None:
        self._over = threading.Event()
        self._stopped = False
        self._answer: JsonObject | None = None
        self._error: BaseException | None = None
        self._work: Callable[[], JsonObject] = lambda: functions.invoke(request)
        threading.Thread(target=self._run, name="lambda step", daemon=True).start()

    def _run(self) -> None:
        try:
            self._answer = self._work()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._error = error
        self._over.set()

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Stop waiting."""
        self._stopped = True
        self._over.set()

    def result(self, timeout: float) -> JsonObject:
        if not self._over.wait(timeout):
            raise TimeoutError
        if self._answer is not None:
            return self._answer
        if self._error is not None and not self._stopped:
            raise self._error
        raise StepStopped("The step was stopped while its function ran")


def _refused(details: object) -> StepFailure:
    return StepFailure(f"ClientError: Failed to invoke lambda:Invoke. Error Details: {details}")


def _keep_log(run: StepRun, answer: JsonObject) -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    tail = base64.b64decode(answer.get("LogResult", ""))
    # Lambda keeps the lines of one entry together by carriage returns.
    run.log.write_bytes(tail.replace(b"\r", b"\n"))


# --- the answer --------------------------------------------------------------------------------


def read_outputs(
    arn: str, answer: JsonObject, parameters: tuple[OutputParameter, ...]
) -> dict[str, Any]:
    """The output parameters' values, of their types.

    Raises:
        StepFailure: the function failed, or its answer lacks one.
    """
    text = bytes(answer["Payload"]).decode("utf-8", "replace")
    if answer.get("FunctionError"):
        raise StepFailure(f"ClientError: The Lambda function {arn} failed: {_error_of(text)}")
    if not parameters:
        return {}
    document = _document(arn, text, parameters)
    return {each.name: _value(arn, document, each) for each in parameters}


def _document(arn: str, text: str, parameters: tuple[OutputParameter, ...]) -> JsonObject:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        names = ", ".join(each.name for each in parameters)
        raise StepFailure(
            f"ClientError: The answer of the Lambda function {arn} is no JSON object with the "
            f"output parameters {names}: {_shortened(text)}"
        )
    return document


def _error_of(text: str) -> str:
    try:
        document = json.loads(text)
        return f"{document['errorType']}: {document['errorMessage']}"
    except (ValueError, KeyError, TypeError):
        return _shortened(text)


def _value(arn: str, document: JsonObject, parameter: OutputParameter) -> Any:
    name = parameter.name
    if document.get(name) is None:
        there = ", ".join(document) or "nothing"
        raise StepFailure(
            f"ClientError: The answer of the Lambda function {arn} has no output parameter "
            f"{name!r}; it has {_shortened(there)}"
        )
    try:
        value = _CONVERSIONS[parameter.type](document[name])
    except (ValueError, MlopsError):
        raise StepFailure(
            f"ClientError: The output parameter {name!r} of the Lambda function {arn} is no "
            f"{parameter.type}: {_shortened(json.dumps(document[name]))}"
        ) from None
    if len(render_text(value)) > LONGEST_VALUE:
        raise StepFailure(
            f"ClientError: The output parameter {name!r} of the Lambda function {arn} is "
            f"{len(render_text(value))} characters long, at most {LONGEST_VALUE} go"
        )
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str, float)):
        raise ValueError
    number = int(value)
    if isinstance(value, float) and number != value:
        raise ValueError
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, str, float)):
        raise ValueError
    return float(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError
    return value


_CONVERSIONS: dict[OutputType, Callable[[Any], Any]] = {
    OutputType.STRING: render_text,
    OutputType.INTEGER: _integer,
    OutputType.FLOAT: _float,
    OutputType.BOOLEAN: _boolean,
}


def _listed(outputs: dict[str, Any]) -> list[JsonObject]:
    """As ``LambdaStepMetadata`` has them: every value as text."""
    return [{"Name": name, "Value": render_text(value)} for name, value in outputs.items()]


def _detail(outputs: dict[str, Any]) -> str:
    return " · ".join(
        f"{name} {_shortened(render_text(value), 60)}" for name, value in outputs.items()
    )


def _shortened(text: str, length: int = _SHOWN) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
