"""The half of a running job that is the same in every runtime: waiting for it and stopping it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, InvalidStateError

from mlops.errors import JobError, MlopsError
from mlops.ports import JobOutcome


class WatchedJob(ABC):
    """A running job with a thread of its own that sees it end.

    The thread, not the caller of `wait`, streams the log, collects the exit status and clears
    away what the job leaves. So a job that nobody waits for is cleared away too, and any number
    of threads may wait.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._ending: Future[JobOutcome] = Future()
        self._stop_requested = threading.Event()

    @abstractmethod
    def _finish(self) -> JobOutcome:
        """See the job to its end and clear it away. Runs in the job's own thread."""

    @abstractmethod
    def _terminate(self) -> None:
        """Send SIGTERM to the job's main process; nothing when it has ended."""

    @abstractmethod
    def _kill(self) -> None:
        """Send SIGKILL to the whole job; nothing when it has ended."""

    def watch(self) -> None:
        """Start the job's thread. Called once, when the job has been started."""
        threading.Thread(target=self._see_to_the_end, name=f"job {self.name}", daemon=True).start()

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        """As `mlops.ports.RunningJob.wait`."""
        try:
            return self._ending.result(timeout)
        except TimeoutError:
            return None

    def stop(self, grace_seconds: float = 10.0) -> None:
        """As `mlops.ports.RunningJob.stop`. Returns at once; a later call may shorten the grace."""
        if self._ending.done():
            return
        first = not self._stop_requested.is_set()
        self._stop_requested.set()
        threading.Thread(
            target=self._end_within,
            args=(grace_seconds, first),
            name=f"stop {self.name}",
            daemon=True,
        ).start()

    def _end_within(self, grace_seconds: float, ask_first: bool) -> None:
        try:
            if ask_first and grace_seconds > 0:
                self._terminate()
            if grace_seconds <= 0 or self.wait(grace_seconds) is None:
                self._kill()
        except MlopsError as error:
            self._fail(error)

    def _see_to_the_end(self) -> None:
        try:
            outcome = self._finish()
        except MlopsError as error:
            self._fail(error)
        except BaseException as error:  # noqa: BLE001 - whoever waits must hear of it
            wrapped = JobError(f"Job {self.name} could not be seen to its end: {error!r}")
            wrapped.__cause__ = error
            self._fail(wrapped)
        else:
            self._end(outcome)

    def _end(self, outcome: JobOutcome) -> None:
        try:
            self._ending.set_result(outcome)
        except InvalidStateError:
            return  # the stopping thread was first, with an error

    def _fail(self, error: MlopsError) -> None:
        try:
            self._ending.set_exception(error)
        except InvalidStateError:
            return  # it has ended already; the first word counts
