"""A job or server that an earlier gateway started as a process, found again.

Its supervisor goes on without a gateway and writes down how the program ends. This gateway is not
its parent: it watches the supervisor by a descriptor of the process, and signals the program
itself.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mlops.errors import ExitStatusLost
from mlops.job_outcome import keep_outcome
from mlops.ports import JobOutcome, JobSpec
from mlops.runtimes.process_tree import carries, kill_marked, marked
from mlops.runtimes.served import LOOPBACK, ServerRecord, WatchedServer
from mlops.runtimes.watched import WatchedJob

_LOOK_SECONDS = 0.05  # without descriptors of processes (old kernels, seccomp)


def never_started(run: Path) -> bool:
    """Whether the gateway of the job in the folder `run` was killed before its program ran.

    Waits for a supervisor that is just about to start it.
    """
    while not (run / "pids").exists():
        if not marked(run.name):
            return not (run / "pids").exists()  # asked again: it may have been quick
        time.sleep(_LOOK_SECONDS)
    return False


class FoundProcessJob(WatchedJob):
    """Implements `mlops.ports.RunningJob`.

    Args:
        clear: removes what the job leaves, and forgets it.
    """

    def __init__(self, job: JobSpec, run: Path, clear: Callable[[], None]) -> None:
        super().__init__(job.name)
        self._outcome_file = job.outcome
        self._run = run
        self._pids: tuple[int, int] | None = None
        self._clear = clear

    def _finish(self) -> JobOutcome:
        try:
            supervisor, _ = self._processes()
            if supervisor is not None:
                wait_for(supervisor)
            outcome = self._outcome()
            keep_outcome(self._outcome_file, outcome)
            return outcome
        finally:
            self._clear()

    def _outcome(self) -> JobOutcome:
        try:
            status = json.loads((self._run / "status.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            kill_marked(self._run.name)
            raise ExitStatusLost(
                f"{self.name} ended and its exit status is lost: its supervisor died",
                next_step="see whether something kills processes here, or the machine restarted",
            ) from None
        return JobOutcome(
            exit_status=status["exit_status"],
            stopped=self._stop_requested.is_set(),
            out_of_memory=status["out_of_memory"],
            process_seconds=status["process_seconds"],
        )

    def _terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        _, program = self._processes()
        if program is not None:
            with suppress(ProcessLookupError):
                os.kill(program, number)

    def _processes(self) -> tuple[int | None, int | None]:
        """The supervisor and its program, of those that still run."""
        if self._pids is None:  # read once: the state folder may be moved or deleted meanwhile
            try:
                text = (self._run / "pids").read_text(encoding="utf-8")
            except FileNotFoundError:
                return None, None  # its gateway was killed while it started
            supervisor, program = (int(number) for number in text.split())
            self._pids = supervisor, program
        supervisor, program = self._pids
        mark = self._run.name  # a process id may have gone to somebody else
        return (
            supervisor if carries(supervisor, mark) else None,
            program if carries(program, mark) else None,
        )


class FoundServer(FoundProcessJob, WatchedServer):
    """Implements `mlops.ports.RunningServer`."""

    def __init__(self, record: ServerRecord, run: Path, clear: Callable[[], None]) -> None:
        super().__init__(record.job, run, clear)
        self.labels = record.job.labels
        self.address = None if record.port is None else f"{LOOPBACK}:{record.port}"


def wait_for(process: int) -> None:
    """Wait until a process that need not be a child has ended."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    except OSError:
        while Path(f"/proc/{process}").exists():
            time.sleep(_LOOK_SECONDS)
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll()
    finally:
        os.close(descriptor)
