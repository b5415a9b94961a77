"""A runtime without containers: each job is a function, run in a thread.

For tests of whatever drives jobs. It keeps the whole contract of a runtime: log, exit status,
stopping, mounts (as copies and links in the job's folder), unknown images.

    runtime = FakeRuntime({"*-Train-*": Script(files={"/opt/ml/model/w": "1"}, log="epoch 1\\n")})
    runtime = FakeRuntime(lambda job: job.print("hello"))
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from mlops.errors import ImageUnavailable, JobError, RuntimeUnavailable
from mlops.job_outcome import keep_outcome
from mlops.ports import FoundJob, JobOutcome, JobSpec, Mount, ServerSpec
from mlops.runtimes.layout import inside, os_error, prepare
from mlops.runtimes.materialise import dematerialise, materialise
from mlops.runtimes.served import LOOPBACK, WatchedServer, as_job, free_port
from mlops.runtimes.watched import WatchedJob


class EndedBySignal(BaseException):
    """Raised by a behaviour to end as a process that a signal ends. The status is 128 + n."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class FakeContainer:
    """What a behaviour sees: its job, its files, its log, and whether it is asked to stop."""

    def __init__(self, job: JobSpec) -> None:
        self.job = job
        self.terminated = threading.Event()
        """Set at SIGTERM. A behaviour that waits on it and returns ends as an obedient job."""
        self.killed = threading.Event()
        self._lock = threading.Lock()

    def path(self, path: str) -> Path:
        """The host path of a path below `/opt/ml`."""
        return inside(self.job.folder, path)

    def write(self, text: str) -> None:
        """Append to the log, as a job does that writes to its stdout."""
        with self._lock, self.job.log.open("a", encoding="utf-8") as log:
            if not self.killed.is_set():
                log.write(text)

    def print(self, *values: object) -> None:
        """Append a line to the log."""
        self.write(" ".join(map(str, values)) + "\n")


Behaviour: TypeAlias = Callable[[FakeContainer], int | None]
"""What a job does. Returns the exit status, None for 0. An exception ends it with status 1."""


@dataclass(frozen=True, slots=True)
class Script:
    """A behaviour written down: log text, files below `/opt/ml`, exit status, seconds it takes."""

    exit_status: int = 0
    log: str = ""
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    seconds: float = 0.0

    def __call__(self, job: FakeContainer) -> int:
        job.write(self.log)
        if job.terminated.wait(self.seconds):
            raise EndedBySignal(signal.SIGTERM)
        for path, content in self.files.items():
            file = job.path(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self.exit_status


class FakeRuntime:
    """Implements `mlops.ports.ContainerRuntime` without containers.

    Args:
        behaviour: what every job does, or a mapping from job name patterns (shell wildcards, the
            first match counts) to behaviours.
        images: the image URIs that exist; None means all.
        refusals: image URIs that this runtime refuses, to the reason.
        commands: the programs (first words of command lines) that exist; None means all.
    """

    name = "fake"
    gateway_host = "127.0.0.1"

    def __init__(
        self,
        behaviour: Behaviour | Mapping[str, Behaviour] = Script(),
        *,
        images: Collection[str] | None = None,
        refusals: Mapping[str, str] | None = None,
        commands: Collection[str] | None = None,
    ) -> None:
        self._behaviours = behaviour if isinstance(behaviour, Mapping) else {"*": behaviour}
        self._images = images
        self._refusals = refusals or {}
        self._commands = commands
        self._running: dict[FakeJob, JobSpec] = {}
        self._lock = threading.Lock()
        self.started: list[JobSpec] = []
        """Every job and server that was started, in order."""
        self.served: list[ServerSpec] = []
        """Every server that was asked for, in order."""

    def start(self, job: JobSpec) -> FakeJob:
        """As `mlops.ports.ContainerRuntime.start`."""
        return self._start(job, FakeJob)

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        """As `mlops.ports.ContainerRuntime.find_jobs`: a fake job outlives whoever started it."""
        with self._lock:
            return [
                FoundJob(job.name, job.labels, running)
                for running, job in self._running.items()
                if not isinstance(running, FakeServer) and labels.items() <= job.labels.items()
            ]

    def serve(self, server: ServerSpec) -> FakeServer:
        """As `mlops.ports.ContainerRuntime.serve`; a behaviour finds its port in its job's
        environment, as `SAGEMAKER_BIND_TO_PORT`. A fake server lives as long as this process.
        """
        port = None if server.port is None else free_port()
        with self._lock:
            self.served.append(server)
        return self._start(as_job(server, port), partial(FakeServer, port))

    def find_servers(self, labels: Mapping[str, str]) -> Sequence[FakeServer]:
        """As `mlops.ports.ContainerRuntime.find_servers`."""
        with self._lock:
            return [
                running
                for running in self._running
                if isinstance(running, FakeServer) and labels.items() <= running.labels.items()
            ]

    def _start(self, job: JobSpec, make: Callable[..., Started]) -> Started:
        self._check(job)
        mounts = prepare(job)
        try:
            materialise(job.folder, mounts)
            job.log.touch()
        except OSError as error:
            raise os_error(error, f"Job {job.name} cannot be started") from error
        running = make(FakeContainer(job), self._behaviour(job), mounts, self._forget)
        with self._lock:
            self.started.append(job)
            self._running[running] = job
        running.watch()
        return running

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        """As `mlops.ports.ContainerRuntime.remove_leftovers`."""
        with self._lock:
            leftovers = [
                (running, job.name)
                for running, job in self._running.items()
                if labels.items() <= job.labels.items()
            ]
        for running, _ in leftovers:
            running.stop(0)
            running.wait()
        return [name for _, name in leftovers]

    def _check(self, job: JobSpec) -> None:
        if job.image in self._refusals:
            raise RuntimeUnavailable(f"Job {job.name} cannot run: {self._refusals[job.image]}")
        if self._images is not None and job.image not in self._images:
            raise ImageUnavailable(
                f"There is no image {job.image}", next_step="give FakeRuntime(images=…) its name"
            )
        program = (*job.command, *job.arguments)[:1]
        if program and self._commands is not None and program[0] not in self._commands:
            raise JobError(f"The command of job {job.name} cannot be run: {program[0]}")

    def _behaviour(self, job: JobSpec) -> Behaviour:
        for pattern, behaviour in self._behaviours.items():
            if fnmatchcase(job.name, pattern):
                return behaviour
        raise JobError(
            f"No behaviour for job {job.name}", next_step="give FakeRuntime one, or a pattern '*'"
        )

    def _forget(self, job: FakeJob) -> None:
        with self._lock:
            self._running.pop(job, None)


class FakeJob(WatchedJob):
    """A behaviour in its thread. A killed one is left behind: its result counts no more."""

    def __init__(
        self,
        container: FakeContainer,
        behaviour: Behaviour,
        mounts: Sequence[Mount],
        forget: Callable[[FakeJob], None],
    ) -> None:
        super().__init__(container.job.name)
        self._container = container
        self._behaviour = behaviour
        self._mounts = mounts
        self._forget = forget
        self._done = threading.Event()
        self._exit_status = 128 + signal.SIGKILL

    def _finish(self) -> JobOutcome:
        threading.Thread(target=self._behave, name=f"fake {self.name}", daemon=True).start()
        self._done.wait()
        outcome = JobOutcome(self._exit_status, stopped=self._stop_requested.is_set())
        keep_outcome(self._container.job.outcome, outcome)
        dematerialise(self._container.job.folder, self._mounts)
        self._forget(self)
        return outcome

    def _behave(self) -> None:
        try:
            status = self._behaviour(self._container) or 0
        except EndedBySignal as end:
            status = 128 + end.number
        except Exception as error:  # noqa: BLE001 - a job that crashes fails, nobody else
            self._container.print(f"{type(error).__name__}: {error}")
            status = 1
        if not self._container.killed.is_set():
            self._exit_status = status
        self._done.set()

    def _terminate(self) -> None:
        self._container.terminated.set()

    def _kill(self) -> None:
        self._container.killed.set()
        self._container.terminated.set()
        self._done.set()


class FakeServer(FakeJob, WatchedServer):
    """A server's behaviour in its thread. Implements `mlops.ports.RunningServer`."""

    def __init__(self, port: int | None, container: FakeContainer, *more: Any) -> None:
        super().__init__(container, *more)
        self.labels = container.job.labels
        self.address = None if port is None else f"{LOOPBACK}:{port}"


Started = TypeVar("Started", bound=FakeJob)
