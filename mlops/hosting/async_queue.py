"""The asynchronous invocations of one endpoint: kept, handed out, and seen to their end.

An invocation is on disk before it is acknowledged, and is forgotten only when its result or its
failure is in S3. So a killed gateway loses none, and the next one repeats what it finds unfinished:
each is carried out at least once.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from mlops.errors import MlopsError, ServiceError
from mlops.hosting.async_carrier import Carrier
from mlops.hosting.async_invocation import (
    FIRST_PAUSE_SECONDS,
    AsyncInvocation,
    Ending,
    Outcome,
    pause_before_next,
)
from mlops.hosting.endpoint import Endpoint
from mlops.hosting.fleet import Lease
from mlops.ports import Clock, JsonObject, ResourceRecord, StateStore

KIND = "async-invocation"
MOST_AT_ONCE = 64
"""Of one endpoint, whatever its variants allow: each holds a thread."""
LOOK_SECONDS = 1.0
"""How often a queue that cannot move looks for invocations that have expired."""
CLOSE_SECONDS = 2.0
END_SECONDS = 10.0
EXPIRED = "The request expired: it waited in the queue longer than its RequestTTLSeconds."

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """An invocation in the queue."""

    invocation: AsyncInvocation
    attempts: dict[Ending, int] = field(default_factory=dict)


class AsyncQueue:
    """Safe to use from several threads. Its own threads run while there is something to do.

    Args:
        endpoint: whose servers answer.
    """

    def __init__(
        self, endpoint: Endpoint, carrier: Carrier, state: StateStore, clock: Clock
    ) -> None:
        self._endpoint = endpoint
        self._carrier = carrier
        self._state = state
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, _Waiting]] = []
        self._numbers = count()
        self._running = 0
        self._left_so_far = 0
        self._dispatching = False
        self._next_look = 0.0
        self._closed = False
        self._ended: str | None = None
        self._counts = {"InvocationsProcessed": 0, "InvocationFailures": 0, "ExpiredRequests": 0}

    # --- from outside ---

    def put(self, invocation: AsyncInvocation, payload: bytes) -> None:
        """Keep an invocation; when this returns it will be carried out, whatever happens.

        `payload` is what came with the request, if it names no input.

        Raises:
            StoreError, DiskFull: it cannot be kept.
            ServiceError: the endpoint is being deleted.
        """
        with self._changed:
            if self._ended is not None:
                raise ServiceError("ValidationError", self._ended)
            if invocation.input is None:
                self._carrier.keep(invocation, payload)
            self._state.put_resource(_record(invocation, "Queued"))
            self._enqueue(_Waiting(invocation), self._clock.monotonic())

    def restore(self, invocations: Sequence[AsyncInvocation]) -> None:
        """Go on with what an earlier gateway had acknowledged, in that order."""
        with self._changed:
            for invocation in invocations:
                if self._carrier.has_ended(invocation):
                    self._forget(invocation)
                else:
                    self._enqueue(_Waiting(invocation), 0.0)

    def pending(self) -> int:
        """How many are queued or being carried out."""
        with self._changed:
            return len(self._queue) + self._running

    def document(self) -> JsonObject:
        """What CloudWatch would know of it, under the names of SageMaker's metrics."""
        with self._changed:
            waiting = [each.invocation.accepted_at for _, _, each in self._queue]
            oldest = (self._clock.now() - min(waiting)).total_seconds() if waiting else 0.0
            return {
                "ApproximateBacklogSize": len(waiting) + self._running,
                "ApproximateAgeOfOldestRequest": round(oldest, 3),
                **self._counts,
            }

    def end(self, reason: str) -> None:
        """The endpoint's servers are gone: what has not ended fails for `reason`."""
        with self._changed:
            self._ended = reason
            waiting = [each.invocation for _, _, each in sorted(self._queue, key=_order)]
            self._queue.clear()
            self._changed.notify_all()
            # Their servers' connections break at once; one that does not fails when it ends.
            self._changed.wait_for(lambda: not self._running, END_SECONDS)
        for invocation in waiting:
            self._fail(invocation, reason)

    def close(self) -> None:
        """Begin nothing more: the gateway leaves, and the next one goes on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._running, CLOSE_SECONDS)

    # --- handing out, in a thread of its own ---

    def _enqueue(self, waiting: _Waiting, due: float) -> None:
        heapq.heappush(self._queue, (due, next(self._numbers), waiting))
        if not self._dispatching:
            self._dispatching = True
            self._start("async queue", self._dispatch)
        self._changed.notify_all()

    def _start(self, what: str, run: Callable[[], None]) -> None:
        name = f"{what} of endpoint {self._endpoint.name}"
        threading.Thread(target=run, name=name, daemon=True).start()

    def _dispatch(self) -> None:
        while (lease := self._next_lease_in_time()) is not None:
            with self._changed:
                due = not self._halted and bool(self._queue) and self._is_due()
                if not due:
                    lease.release()
                    continue
                _, _, waiting = heapq.heappop(self._queue)
                self._running += 1
            self._start("async invocation", partial(self._carry, waiting, lease))

    def _next_lease_in_time(self) -> Lease | None:
        """As `_next_lease`; a defect must not leave the queue without anybody who looks."""
        while True:
            try:
                return self._next_lease()
            except Exception:
                _logger.exception("the queue of endpoint %s is stuck", self._endpoint.name)
                with self._changed:
                    self._changed.wait(LOOK_SECONDS)

    def _next_lease(self) -> Lease | None:
        """A server, once there is an invocation for it; None when the queue is empty or ends."""
        while True:
            self._drop_expired()
            with self._changed:
                if self._halted or not self._queue:
                    self._dispatching = False
                    return None
                now = self._clock.monotonic()
                if not self._is_due():
                    self._changed.wait(min(self._queue[0][0] - now, LOOK_SECONDS))
                    continue
                if self._running >= MOST_AT_ONCE:
                    self._changed.wait(LOOK_SECONDS)
                    continue
                ended = self._left_so_far
            pause = LOOK_SECONDS
            try:
                lease = self._endpoint.take_next()
            except ServiceError:
                lease, pause = None, FIRST_PAUSE_SECONDS  # none is up: the queue waits for one
            if lease is not None:
                return lease
            self._wait_for_room(ended, pause)

    def _wait_for_room(self, ended: int, pause: float) -> None:
        """Until an invocation more than `ended` has ended: one may have while nobody waited."""
        with self._changed:
            self._changed.wait_for(lambda: self._halted or self._left_so_far != ended, pause)

    @property
    def _halted(self) -> bool:
        return self._closed or self._ended is not None

    def _is_due(self) -> bool:
        return self._queue[0][0] <= self._clock.monotonic()

    def _drop_expired(self) -> None:
        now, moment = self._clock.now(), self._clock.monotonic()
        with self._changed:
            if self._halted or moment < self._next_look:
                return
            self._next_look = moment + LOOK_SECONDS
            expired = [each for each in self._queue if each[2].invocation.expired(now)]
            if not expired:
                return
            self._queue = [each for each in self._queue if not each[2].invocation.expired(now)]
            heapq.heapify(self._queue)
            self._counts["ExpiredRequests"] += len(expired)
            self._running += len(expired)
        for _, _, waiting in expired:
            try:
                self._fail(waiting.invocation, EXPIRED)
            finally:
                self._left()

    # --- one invocation, in a thread of its own ---

    def _carry(self, waiting: _Waiting, lease: Lease) -> None:
        try:
            waiting.invocation = waiting.invocation.begun(self._clock.now())
            self._state.put_resource(_record(waiting.invocation, "InProgress"))
            outcome = self._carrier.attempt(self._endpoint, lease, waiting.invocation)
        except Exception as error:  # the boundary of the thread: the invocation must not be lost
            _logger.exception("an invocation of endpoint %s failed", self._endpoint.name)
            outcome = Outcome(Ending.BUSY, f"InternalServerError: {error!r}")
        finally:
            lease.release()
        try:
            self._conclude(waiting, outcome)
        finally:
            self._left()

    def _left(self) -> None:
        with self._changed:
            self._running -= 1
            self._left_so_far += 1
            self._changed.notify_all()

    def _conclude(self, waiting: _Waiting, outcome: Outcome) -> None:
        if self._closed:
            return  # what is recorded of it is what the next gateway goes by
        if outcome.ending is Ending.ANSWERED:
            self._count("InvocationsProcessed")
            self._forget(waiting.invocation)
            return
        attempts = waiting.attempts.get(outcome.ending, 0) + 1
        waiting.attempts[outcome.ending] = attempts
        pause = pause_before_next(outcome, attempts)
        with self._changed:
            if pause is not None and self._ended is None:
                self._enqueue(waiting, self._clock.monotonic() + pause)
                return
        self._fail(waiting.invocation, self._ended or outcome.message)

    def _count(self, name: str) -> None:
        with self._changed:
            self._counts[name] += 1

    def _fail(self, invocation: AsyncInvocation, message: str) -> None:
        self._count("InvocationFailures")
        fail(invocation, message, self._carrier)
        self._forget(invocation)

    def _forget(self, invocation: AsyncInvocation) -> None:
        try:
            self._state.delete_resource(KIND, invocation.id)
        except MlopsError:
            _logger.exception("invocation %s will be repeated", invocation.id)
            return
        self._carrier.forget(invocation)


def fail(invocation: AsyncInvocation, message: str, carrier: Carrier) -> None:
    """Tell a failure in S3 and in the gateway's log."""
    _logger.warning(
        "asynchronous invocation %s of endpoint %s failed: %s",
        invocation.inference_id,
        invocation.endpoint,
        message,
    )
    try:
        carrier.fail(invocation, message)
    except MlopsError as error:
        _logger.warning("its failure cannot be written to %s: %s", invocation.failure, error)


def _order(entry: tuple[float, int, _Waiting]) -> tuple[float, int]:
    return entry[:2]


def _record(invocation: AsyncInvocation, status: str) -> ResourceRecord:
    return ResourceRecord(
        kind=KIND,
        name=invocation.id,
        arn=invocation.output,
        created_at=invocation.accepted_at,
        last_modified_at=invocation.started_at or invocation.accepted_at,
        status=status,
        document=invocation.document(),
    )
