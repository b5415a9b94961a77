"""Callbacks: the tokens that Callback steps wait on, and what is answered to them.

They are kept in the state store, so that an answer that comes while no gateway runs its step is
not lost: the step, when it is taken up again, finds its token, and perhaps the answer, here.
"""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Mapping
from dataclasses import replace

from mlops.errors import ServiceError
from mlops.ports import Clock, JsonObject, ResourceRecord, StateStore

KIND = "pipeline-callback"
WAITING, SUCCEEDED, FAILED = "Waiting", "Succeeded", "Failed"
TOKEN_LENGTH = 10  # botocore sagemaker CallbackToken


class Callbacks:
    """Every callback that a step waits for. Safe to use from several threads."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._clock = clock
        self._changed = threading.Condition()
        self.left = threading.Event()
        """Set once the gateway is leaving: then a step that is to stop waits for no answer."""

    def open(self, execution_arn: str, step: str) -> tuple[str, bool]:
        """The token of a step, and whether its message is still to be sent.

        A token that was open already stays so: an earlier gateway may have sent it.
        """
        with self._changed:
            for record in self._state.list_resources(KIND):
                document = record.document
                if (document["execution_arn"], document["step"]) == (execution_arn, step):
                    return record.name, not document["sent"]
            token = "".join(
                secrets.choice(string.ascii_letters + string.digits) for _ in range(TOKEN_LENGTH)
            )
            now = self._clock.now()
            self._state.put_resource(
                ResourceRecord(
                    kind=KIND,
                    name=token,
                    arn=f"{execution_arn}/callback/{token}",
                    created_at=now,
                    last_modified_at=now,
                    status=WAITING,
                    document={"execution_arn": execution_arn, "step": step, "sent": False},
                )
            )
            return token, True

    def sent(self, token: str) -> None:
        """The message with the token is in its queue."""
        with self._changed:
            record = self._state.get_resource(KIND, token)
            if record is not None:
                document = record.document | {"sent": True}
                self._state.put_resource(replace(record, document=document))

    def close(self, token: str) -> None:
        """Nobody waits for the token any more."""
        with self._changed:
            self._state.delete_resource(KIND, token)
            self._changed.notify_all()

    def succeed(self, token: str, values: Mapping[str, str]) -> str:
        """SendPipelineExecutionStepSuccess; returns the execution's ARN.

        Raises:
            ServiceError: no step waits for the token.
        """
        return self._answer(token, SUCCEEDED, {"values": dict(values)})

    def fail(self, token: str, reason: str | None) -> str:
        """SendPipelineExecutionStepFailure; returns the execution's ARN.

        Raises:
            ServiceError: no step waits for the token.
        """
        return self._answer(token, FAILED, {"reason": reason})

    def wait(self, token: str, stopped: threading.Event, seconds: float) -> ResourceRecord | None:
        """The answered callback; None when the time is over or `stopped` was set (see `wake`)."""
        deadline = self._clock.monotonic() + seconds
        with self._changed:
            while not stopped.is_set():
                record = self._state.get_resource(KIND, token)
                if record is not None and record.status != WAITING:
                    return record
                left = deadline - self._clock.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        return None

    def wake(self) -> None:
        """Let those who wait look whether they were stopped."""
        with self._changed:
            self._changed.notify_all()

    def leave(self) -> None:
        """The gateway is leaving: nobody waits here any longer for an answer to a stop."""
        self.left.set()
        self.wake()

    def _answer(self, token: str, status: str, more: JsonObject) -> str:
        with self._changed:
            record = self._state.get_resource(KIND, token)
            if record is None:
                raise ServiceError(
                    "ResourceNotFound", f"No pipeline step waits for the callback token {token}"
                )
            if record.status != WAITING:
                raise ServiceError(
                    "ConflictException", f"The callback token {token} has been answered already"
                )
            self._state.put_resource(
                replace(
                    record,
                    status=status,
                    document=record.document | more,
                    last_modified_at=self._clock.now(),
                )
            )
            self._changed.notify_all()
            return str(record.document["execution_arn"])
