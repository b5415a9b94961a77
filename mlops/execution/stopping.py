"""Stopping a running step from another thread."""

from __future__ import annotations

import threading
from typing import Protocol

from mlops.errors import JobError

STOP_GRACE_SECONDS = 10.0
"""Between SIGTERM and SIGKILL when a person stops an execution; the service gives 120 seconds."""

TIME_LIMIT_GRACE_SECONDS = 120.0
"""The service's own grace when a job has run for MaxRuntimeInSeconds: a training script may save
its model in it (botocore sagemaker ``StoppingCondition``)."""


class StepStopped(JobError):
    """Ends a step as Stopped, because that was asked for before its job was started."""


class Stoppable(Protocol):
    """What a step waits for: a job, or whatever else can be told to end."""

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None: ...


class StopSignal:
    """Says that a step shall end, and ends its job.

    Set before the job is started, it ends the job as soon as that is attached.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = threading.Event()
        self._job: Stoppable | None = None

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait until a stop is asked for, at most so long; whether it was."""
        return self._requested.wait(min(seconds, threading.TIMEOUT_MAX))

    def request(self) -> None:
        """Ask for the end; blocks up to the grace time while the job ends."""
        with self._lock:
            self._requested.set()
            job = self._job
        if job is not None:
            job.stop(STOP_GRACE_SECONDS)

    def attach(self, job: Stoppable) -> None:
        """Make `job` the one to stop."""
        with self._lock:
            self._job = job
            requested = self.requested
        if requested:
            job.stop(STOP_GRACE_SECONDS)
