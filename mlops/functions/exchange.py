"""What passes between one function's runtime and its host: the states of the Runtime API.

The runtime (a Lambda runtime interface client) asks for an invocation, answers it, and asks for the
next one. The host hands an invocation over and waits. The moves that AWS's own implementation
allows are allowed here, and no other (aws-lambda-runtime-interface-emulator, ``core/states.go``)::

    STARTED ──next──▸ READY ──taken──▸ RUNNING ──response, error──▸ ANSWERED ──next──▸ READY
       └──init/error──▸ INIT_FAILED                                    every one ──exit──▸ ENDED

It has no thread and no socket of its own; every method may be called from any thread.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mlops.errors import MlopsError

MAXIMUM_RESPONSE = 6 * 1024 * 1024 + 100
"""Bytes of an answer to a synchronous invocation (``MaxPayloadSize`` of AWS's implementation)."""


class Phase(StrEnum):
    STARTED = "Started"
    READY = "Ready"
    RUNNING = "Running"
    ANSWERED = "ResponseSent"
    INIT_FAILED = "InitError"
    ENDED = "Exited"


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event for a function, as the runtime sees it."""

    request_id: str
    payload: bytes
    function_arn: str
    deadline_ms: int
    """When the function times out, in milliseconds since 1970."""
    trace_id: str
    client_context: str | None = None
    """JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the runtime made of an invocation, or of its own start; `error_type` is set for an
    error, as the runtime named it."""

    payload: bytes
    error_type: str | None = None


class WrongMove(MlopsError):
    """The runtime did what the Runtime API does not allow in this phase."""


class UnknownInvocation(MlopsError):
    """The runtime answers an invocation that is not the one it has."""


class AnswerTooLarge(MlopsError):
    """The answer is over the limit; the invocation has ended with that as its error."""


class Exchange:
    """The one conversation with one runtime."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._phase = Phase.STARTED
        self._invocation: Invocation | None = None
        self._taken = False
        self._answer: Answer | None = None
        self._init_failure: Answer | None = None
        self._deliver: Callable[[Invocation], None] | None = None

    @property
    def phase(self) -> Phase:
        return self._phase

    @property
    def init_failure(self) -> Answer | None:
        """What the runtime said of a start that failed."""
        return self._init_failure

    # --- the runtime's side ---

    def ask_next(self, deliver: Callable[[Invocation], None]) -> None:
        """The runtime asks for an invocation; `deliver` is called with it, now or later.

        Raises:
            WrongMove: it has one that is not answered, or asks twice.
        """
        with self._changed:
            self._require(Phase.READY, Phase.STARTED, Phase.ANSWERED)
            self._phase = Phase.READY
            self._deliver = deliver
            self._hand_over()
            self._changed.notify_all()

    def withdraw(self, deliver: Callable[[Invocation], None]) -> None:
        """The runtime no longer waits: its connection is gone."""
        with self._changed:
            if self._deliver == deliver:
                self._deliver = None
                self._phase = Phase.ANSWERED

    def respond(self, request_id: str, payload: bytes, *, too_large: bool = False) -> None:
        """The runtime answers.

        Raises:
            UnknownInvocation, WrongMove.
            AnswerTooLarge: and the invocation has failed for it.
        """
        if not too_large and len(payload) <= MAXIMUM_RESPONSE:
            self._end_invocation(request_id, Answer(payload))
            return
        message = (
            f"Response payload size exceeded maximum allowed payload size "
            f"({MAXIMUM_RESPONSE} bytes)."
        )
        kind = "Function.ResponseSizeTooLarge"
        body = json.dumps({"errorType": kind, "errorMessage": message}).encode()
        self._end_invocation(request_id, Answer(body, kind))
        raise AnswerTooLarge(f"Exceeded maximum allowed payload size ({MAXIMUM_RESPONSE} bytes).")

    def fail(self, request_id: str, payload: bytes, error_type: str) -> None:
        """The handler failed.

        Raises:
            UnknownInvocation, WrongMove.
        """
        self._end_invocation(request_id, Answer(payload, error_type))

    def fail_init(self, payload: bytes, error_type: str) -> None:
        """The runtime could not start the function.

        Raises:
            WrongMove: it had started.
        """
        with self._changed:
            self._require(Phase.INIT_FAILED, Phase.STARTED)
            self._phase = Phase.INIT_FAILED
            self._init_failure = Answer(payload, error_type)
            self._changed.notify_all()

    def _end_invocation(self, request_id: str, answer: Answer) -> None:
        with self._changed:
            known = self._invocation
            if known is None or known.request_id != request_id:
                raise UnknownInvocation("Invalid request ID")
            self._require(Phase.ANSWERED, Phase.RUNNING)
            self._phase = Phase.ANSWERED
            self._invocation = None
            self._answer = answer
            self._changed.notify_all()

    def _require(self, wanted: Phase, *allowed: Phase) -> None:
        if self._phase not in allowed:
            raise WrongMove(
                f"Transition from {self._phase} to {wanted} is not allowed for runtime: "
                f"State transition is not allowed"
            )

    # --- the host's side ---

    def wait_until_started(self, timeout: float) -> Phase:
        """The phase once the runtime has come as far as it can by itself, or after `timeout`."""
        with self._changed:
            self._changed.wait_for(lambda: self._phase is not Phase.STARTED, timeout)
            return self._phase

    def begin(self, invocation: Invocation) -> None:
        """Hand an invocation over; it waits where the runtime has not asked for it yet."""
        with self._changed:
            self._invocation = invocation
            self._taken = False
            self._answer = None
            self._hand_over()

    def wait_for_answer(self, until: float) -> Answer | None:
        """The answer; None when the runtime has ended, or at the monotonic time `until`."""
        with self._changed:
            self._changed.wait_for(self._is_over, max(0.0, until - time.monotonic()))
            return self._answer

    @property
    def was_taken(self) -> bool:
        """Whether the runtime has seen the invocation: it may have acted on it."""
        return self._taken

    def end(self) -> None:
        """The runtime's process is gone."""
        with self._changed:
            self._phase = Phase.ENDED
            self._deliver = None
            self._changed.notify_all()

    def _is_over(self) -> bool:
        return self._answer is not None or self._phase is Phase.ENDED

    def _hand_over(self) -> None:
        if self._deliver is None or self._invocation is None:
            return
        deliver, self._deliver = self._deliver, None
        self._phase = Phase.RUNNING
        self._taken = True
        deliver(self._invocation)
