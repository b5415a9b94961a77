"""The Callback step: a message to an SQS queue, and the wait for its answer.

The message's body is the service's (developer guide, "Callback step"): JSON with the ``token``,
the step's ``arguments`` and the ``pipelineExecutionArn``. A stop waits for the answer: a further
message says ``"Status": "Stopping"``, and only an answer stops the execution (the same page and
botocore's StopPipelineExecution; AWS's own samples read ``status``, so both are there). That page
names no time limit; here a step fails after seven days, so that none waits for ever. The words of
its failures are ours: none are to be found.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from mlops.definition import CallbackStep, OutputParameter, OutputType
from mlops.errors import ServiceError
from mlops.execution.callbacks import FAILED, Callbacks
from mlops.execution.failures import StepFailure
from mlops.execution.step_run import Announcement, StepResult, StepRun
from mlops.execution.stopping import STOP_GRACE_SECONDS, StepStopped
from mlops.ports import JsonObject, ResourceRecord, StepStatus

MAXIMUM_SECONDS = 7 * 24 * 3600.0


class CallbackExecutor:
    """Carries out Callback steps."""

    def __init__(self, maximum_seconds: float = MAXIMUM_SECONDS) -> None:
        self._maximum_seconds = maximum_seconds

    def run(self, run: StepRun) -> StepResult:
        step, callbacks = run.step, run.parts.callbacks
        if not isinstance(step, CallbackStep) or callbacks is None:
            raise AssertionError(f"{step.name} came to the executor of Callback steps")
        queue = str(step.queue_url.resolve(run.scope))
        arguments = run.resolve_arguments()
        token, unsent = callbacks.open(run.execution.arn, step.name)
        metadata = {"CallbackToken": token, "SqsQueueUrl": queue}
        run.announce(Announcement(None, {"Callback": metadata}, {}))
        try:
            if unsent:
                self._send(run, queue, _message(run, token, arguments))
                callbacks.sent(token)
            answer = self._wait(run, callbacks, token, queue, arguments)
            outputs = read_answer(answer, step.output_parameters)
        except StepStopped:
            callbacks.close(token)
            raise
        finally:
            # Tidied after the step's end is recorded: an answer must outlive a gateway that dies.
            run.afterwards.append(lambda: callbacks.close(token))
        listed = [
            {"Name": name, "Value": value} for name, value in answer.document["values"].items()
        ]
        return StepResult(
            status=StepStatus.SUCCEEDED,
            metadata={"Callback": {**metadata, "OutputParameters": listed}},
            outputs={"OutputParameters": outputs},
            detail=" · ".join(f"{each['Name']} {each['Value']}" for each in listed) or None,
        )

    def _send(self, run: StepRun, queue: str, body: str) -> None:
        queues = run.parts.queues
        try:
            if queues is None:
                raise ServiceError("QueueDoesNotExist", "there are no queues here")
            queues.send_message({"QueueUrl": queue, "MessageBody": body})
        except ServiceError as error:
            raise StepFailure(
                f"ClientError: Failed to invoke sqs:SendMessage. Error Details: {error} ({queue})"
            ) from error

    def _wait(
        self, run: StepRun, callbacks: Callbacks, token: str, queue: str, arguments: Any
    ) -> ResourceRecord:
        waiting = _Waiting(callbacks)
        run.stop.attach(waiting)
        answer = callbacks.wait(token, waiting.stopped, self._maximum_seconds)
        if answer is not None:
            return answer
        if waiting.stopped.is_set():
            self._ask_to_stop(run, callbacks, token, queue, arguments)
            raise StepStopped("The step was stopped while it waited for its callback")
        raise StepFailure(
            f"ClientError: Nobody answered the callback token {token} within "
            f"{self._maximum_seconds:g} seconds: see who reads the queue"
        )

    def _ask_to_stop(
        self, run: StepRun, callbacks: Callbacks, token: str, queue: str, arguments: Any
    ) -> None:
        """Tell who reads the queue of the stop, and wait for the answer that lets it happen."""
        with suppress(StepFailure):  # without the queue there is nobody to wait for
            self._send(run, queue, _message(run, token, arguments, stopping=True))
            metadata = {"CallbackToken": token, "SqsQueueUrl": queue}
            note = "stops once its callback is answered: its queue has a message with that Status"
            run.announce(Announcement(None, {"Callback": metadata}, {}, note))
            callbacks.wait(token, callbacks.left, self._maximum_seconds)


class _Waiting:
    """What a person's stop ends."""

    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks
        self.stopped = threading.Event()

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        self.stopped.set()
        self._callbacks.wake()


def _message(run: StepRun, token: str, arguments: Any, *, stopping: bool = False) -> str:
    body = {"token": token, "pipelineExecutionArn": run.execution.arn, "arguments": arguments}
    if stopping:
        body |= {"Status": "Stopping", "status": "Stopping"}
    return json.dumps(body)


# --- the answer --------------------------------------------------------------------------------


def read_answer(answer: ResourceRecord, parameters: tuple[OutputParameter, ...]) -> JsonObject:
    """The output parameters' values, of their types.

    Raises:
        StepFailure: the answer is a failure, or lacks a parameter.
    """
    if answer.status == FAILED:
        reason = answer.document.get("reason") or "no reason was given"
        raise StepFailure(f"ClientError: The callback was answered with a failure: {reason}")
    values: Mapping[str, str] = answer.document["values"]
    return {each.name: _value(values, each) for each in parameters}


def _value(values: Mapping[str, str], parameter: OutputParameter) -> Any:
    text = values.get(parameter.name)
    if text is None:
        raise StepFailure(
            f"ClientError: The callback's answer has no output parameter {parameter.name!r}; it "
            f"has {', '.join(values) or 'none'}"
        )
    try:
        return _CONVERSIONS[parameter.type](text)
    except ValueError:
        raise StepFailure(
            f"ClientError: The output parameter {parameter.name!r} of the callback's answer is no "
            f"{parameter.type}: {text!r}"
        ) from None


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"


_CONVERSIONS: dict[OutputType, Callable[[str], Any]] = {
    OutputType.STRING: str,
    OutputType.INTEGER: int,
    OutputType.FLOAT: float,
    OutputType.BOOLEAN: _boolean,
}
