"""Several running containers of one job, with the face of one.

The job has failed when one of them has; the others are ended then, as the service does. It has
succeeded when all of them have.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from mlops.execution.stopping import STOP_GRACE_SECONDS
from mlops.ports import JobOutcome, RunningJob


@dataclass(frozen=True, slots=True)
class _Ended:
    host: str
    outcome: JobOutcome | None
    error: Exception | None = None


class JobGroup:
    """Implements `mlops.ports.RunningJob`. `jobs` are by host name, the first one first."""

    def __init__(self, jobs: Mapping[str, RunningJob]) -> None:
        self._jobs = jobs
        self._outcomes: dict[str, JobOutcome] = {}
        self._error: Exception | None = None
        self._running = set(jobs)
        self._ends: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self.failed: str | None = None
        """The host that failed first, of itself."""
        for host, job in jobs.items():
            threading.Thread(
                target=self._watch, args=(host, job), name=f"watch {host}", daemon=True
            ).start()

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        """As `RunningJob.wait`: until all have ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._running:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                self._take(self._ends.get(timeout=left))
            except queue.Empty:
                return None
        if self._error is not None:
            raise self._error
        return self._outcome()

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """As `RunningJob.stop`, side by side."""
        threads = [
            threading.Thread(target=job.stop, args=(grace_seconds,)) for job in self._jobs.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _watch(self, host: str, job: RunningJob) -> None:
        try:
            self._ends.put(_Ended(host, job.wait()))
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            self._ends.put(_Ended(host, None, error))

    def _take(self, end: _Ended) -> None:
        self._running.discard(end.host)
        if end.outcome is not None:
            self._outcomes[end.host] = end.outcome
        self._error = self._error or end.error
        lost = end.outcome is None or (end.outcome.exit_status != 0 and not end.outcome.stopped)
        if lost and self.failed is None:
            self.failed = end.host
            for host in self._running:
                # In threads: the first of them to end must not wait for another's grace time.
                threading.Thread(
                    target=self._jobs[host].stop, args=(STOP_GRACE_SECONDS,), daemon=True
                ).start()

    def _outcome(self) -> JobOutcome:
        decides = self.failed or next(
            (host for host in self._jobs if self._outcomes[host].exit_status != 0),
            next(iter(self._jobs)),
        )
        outcome = self._outcomes[decides]
        seconds = [each.process_seconds for each in self._outcomes.values()]
        known = [each for each in seconds if each is not None]
        return JobOutcome(
            exit_status=outcome.exit_status,
            stopped=outcome.stopped,
            out_of_memory=outcome.out_of_memory,
            process_seconds=max(known) if len(known) == len(seconds) else None,
        )
