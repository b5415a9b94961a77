"""A gateway that is killed at a chosen moment, without a process: all that it could touch is gone.

Every call to the outside (state, objects, runtime) is a moment, before it and after it. At the
chosen one the call, and every later one of that gateway, raises `Killed`. Its jobs, which are the
fake runtime's, go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from mlops.errors import MlopsError
from mlops.ports import FoundJob, JobOutcome, JobSpec, RunningJob
from mlops.runtimes.fake import FakeRuntime
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore


class Killed(MlopsError):
    """The gateway is dead."""


class Life:
    """How long a gateway lives: for so many moments."""

    def __init__(self, moments: int | None) -> None:
        self._left = moments
        self._lock = threading.Lock()
        self.over = threading.Event()

    def moment(self) -> None:
        with self._lock:
            if self._left is not None and not self.over.is_set():
                self._left -= 1
                if self._left <= 0:
                    self.over.set()
        if self.over.is_set():
            raise Killed("killed")


class MortalState(SqliteStateStore):
    """A state store whose gateway dies."""

    def __init__(self, path: Path, life: Life) -> None:
        super().__init__(path)
        self._life = life

    def transaction(self) -> AbstractContextManager[None]:
        return self._mortal()

    @contextmanager
    def _mortal(self) -> Iterator[None]:
        outermost = self._depth == 0
        if outermost:
            self._life.moment()
        with super().transaction():
            yield
        if outermost:
            self._life.moment()


class MortalObjects:
    """An object store whose gateway dies."""

    def __init__(self, objects: FileObjectStore, life: Life) -> None:
        self._objects = objects
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self._objects, name)

        def called(*arguments: Any, **named: Any) -> Any:
            self._life.moment()
            answer = method(*arguments, **named)
            self._life.moment()
            return answer

        return called


class MortalRuntime:
    """A runtime whose gateway dies; its jobs do not."""

    name = "fake"
    gateway_host = "127.0.0.1"

    def __init__(self, runtime: FakeRuntime, life: Life) -> None:
        self._runtime = runtime
        self._life = life

    def start(self, job: JobSpec) -> RunningJob:
        self._life.moment()
        started = MortalJob(self._runtime.start(job), self._life)
        self._life.moment()
        return started

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        self._life.moment()
        return [
            FoundJob(each.name, each.labels, MortalJob(each.job, self._life))
            for each in self._runtime.find_jobs(labels)
        ]

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        self._life.moment()
        return self._runtime.remove_leftovers(labels)


class MortalJob:
    """A job that a gateway waits for until one of the two ends."""

    def __init__(self, job: RunningJob, life: Life) -> None:
        self._job = job
        self._life = life

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        left = timeout
        while left is None or left > 0:
            outcome = self._job.wait(0.01)
            if self._life.over.is_set():
                raise Killed("killed")
            if outcome is not None:
                self._life.moment()
                return outcome
            left = None if left is None else left - 0.01
        return None

    def stop(self, grace_seconds: float = 10.0) -> None:
        if not self._life.over.is_set():
            self._job.stop(grace_seconds)
