"""The workers of all functions: which are idle, which busy, and when an idle one goes.

A worker belongs to one revision of its function. A change of the function retires the workers of
the revision before: the idle ones end at once, a busy one when it has answered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mlops.errors import GatewayUnavailable, MlopsError, ServiceError
from mlops.functions.worker import Worker

MOST_WORKERS = 10
"""Of one function at a time; an account in AWS has 1,000 for all its functions."""
IDLE_SECONDS = 300.0
_LOOK_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Crew:
    """One function's workers."""

    revision: str
    idle: list[Worker] = field(default_factory=list)
    busy: set[Worker] = field(default_factory=set)
    starting: int = 0


class WorkerPool:
    """Gives workers out, one invocation each at a time. Safe to use from several threads."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._crews: dict[str, _Crew] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._look_after_idle, name="idle functions", daemon=True).start()

    def take(
        self, function: str, revision: str, start: Callable[[], Worker]
    ) -> tuple[Worker, bool]:
        """An idle worker of a function's revision, else one that `start` starts; and whether it is
        new.

        Raises:
            ServiceError: ``TooManyRequestsException`` (429) when MOST_WORKERS are busy.
            GatewayUnavailable: the pool is closed.
            MlopsError: as `start`.
        """
        retired: list[Worker] = []
        with self._lock:
            crew = self._crew(function, revision, retired)
            while crew.idle:
                worker = crew.idle.pop()  # the last one used: the others may go
                if not worker.ended:
                    crew.busy.add(worker)
                    return worker, False
            if len(crew.busy) + crew.starting >= MOST_WORKERS:
                raise ServiceError(
                    "TooManyRequestsException",
                    f"Rate Exceeded. {MOST_WORKERS} invocations of {function} run already",
                    status=429,
                )
            crew.starting += 1
        for worker in retired:
            worker.stop()
        return self._start(crew, start), True

    def give_back(self, function: str, worker: Worker, *, reusable: bool) -> None:
        """A worker has answered; it waits for the next invocation, or ends."""
        with self._lock:
            crew = self._crews.get(function)
            kept = crew is not None and worker in crew.busy
            if crew is not None:
                crew.busy.discard(worker)
                if kept and reusable and not self._closed.is_set():
                    crew.idle.append(worker)
                    return
        worker.stop()

    def retire(self, function: str) -> None:
        """End a function's idle workers; the busy ones end when they have answered."""
        with self._lock:
            crew = self._crews.pop(function, None)
        for worker in crew.idle if crew else ():
            worker.stop()

    def close(self) -> None:
        """End every worker, whatever it does, and start no more."""
        with self._lock:
            self._closed.set()
            crews = list(self._crews.values())
            self._crews.clear()
        _stop_all([worker for crew in crews for worker in (*crew.idle, *crew.busy)])

    def _crew(self, function: str, revision: str, retired: list[Worker]) -> _Crew:
        if self._closed.is_set():
            raise GatewayUnavailable("The gateway is closing and starts no more functions")
        crew = self._crews.get(function)
        if crew is None or crew.revision != revision:
            retired += crew.idle if crew else []
            crew = self._crews[function] = _Crew(revision)
        return crew

    def _start(self, crew: _Crew, start: Callable[[], Worker]) -> Worker:
        worker = None
        try:
            worker = start()
        finally:
            with self._lock:
                crew.starting -= 1
                if worker is not None:
                    crew.busy.add(worker)
        if self._closed.is_set():
            worker.stop()  # closed meanwhile, without this one
            raise GatewayUnavailable("The gateway is closing and starts no more functions")
        return worker

    def _look_after_idle(self) -> None:
        while not self._closed.wait(min(_LOOK_SECONDS, self._idle_seconds / 2)):
            self._end_idle(time.monotonic() - self._idle_seconds)

    def _end_idle(self, before: float) -> None:
        gone: list[Worker] = []
        with self._lock:
            for crew in self._crews.values():
                gone += [each for each in crew.idle if each.ended or each.idle_since < before]
                crew.idle = [each for each in crew.idle if each not in gone]
        for worker in gone:
            try:
                worker.stop()
            except MlopsError:
                _logger.exception("an idle function worker could not be ended")


def _stop_all(workers: list[Worker]) -> None:
    """Side by side: an engine takes its time for each."""
    stopping = [threading.Thread(target=worker.stop, daemon=True) for worker in workers]
    for thread in stopping:
        thread.start()
    for thread in stopping:
        thread.join()
