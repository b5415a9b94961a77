"""One job container: its folder filled, run to its end, its time limit and its stop kept."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from mlops.errors import ExitStatusLost
from mlops.execution.inputs import Input, InputStager
from mlops.execution.job_run import JobRun
from mlops.execution.opt_ml import BASE
from mlops.execution.outputs import FolderSync
from mlops.execution.stopping import STOP_GRACE_SECONDS, TIME_LIMIT_GRACE_SECONDS, StepStopped
from mlops.job_outcome import kept_outcome
from mlops.ports import JobOutcome, JobSpec, Mount, Peers, RunningJob

LONGEST_MESSAGE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What a job's container is to be, decided before anything is touched."""

    name: str
    image: str
    command: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, str]
    """Text files below ``/opt/ml``."""
    folders: tuple[str, ...]
    """Folders below ``/opt/ml`` that exist when the container starts."""
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    """Absolute container folders that exist when the container starts and are read at its end."""
    synced: tuple[tuple[str, str], ...]
    """Container folders with the S3 prefix that is kept up to date with each."""
    maximum_seconds: int
    results: tuple[str, ...] = ()
    """Container folders whose contents, of all the job's instances, are one result."""
    shared: tuple[Mount, ...] = ()
    """Host folders, made where missing, that the jobs of the state folder share."""


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How the container ended, and when it ran."""

    outcome: JobOutcome
    timed_out: bool
    started_at: datetime
    ended_at: datetime
    process_seconds: float


def _make_folders(base: Path, names: Iterable[str]) -> None:
    """`base` and the folders below it, each made once: making one costs 0.1 ms on a busy disk."""
    made = {""}
    base.mkdir(exist_ok=True)
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in made:
                made.add(folder)
                (base / folder).mkdir(exist_ok=True)


def _unlock_and_retry(function: Callable[..., object], path: str, _error: object) -> None:
    """A job may take its own permissions away; deleting needs them on a folder and the one around.

    `function` is what `shutil.rmtree` could not do with `path`.
    """
    with suppress(OSError):
        Path(path).parent.chmod(stat.S_IRWXU)
        if function in (os.unlink, os.rmdir):
            function(path)
        else:  # to open or to list a folder
            Path(path).chmod(stat.S_IRWXU)
            shutil.rmtree(path, onerror=_unlock_and_retry)


class Container:
    """A job's container, from its plan to the folder it leaves."""

    def __init__(self, run: JobRun, plan: ContainerPlan, peers: Peers | None = None) -> None:
        """`peers`: it is one of several, each of which has a folder below the step's."""
        self._run = run
        self._plan = plan
        self._peers = peers
        self._root = run.folder if peers is None else run.folder / peers.host
        self.folder = self._root / "ml"
        self.log = self._root / run.log.name
        self._scratch = self._root / "inputs"
        self._outcome = self._root / "outcome.json"
        self._started = self._root / "started"
        self.syncs = tuple(
            FolderSync(run.parts.objects, self.place(target), self.folder, uri)
            for target, uri in plan.synced
        )

    def place(self, container_path: str) -> Path:
        """The host's path of a path below ``/opt/ml``."""
        return self.folder / PurePosixPath(container_path).relative_to(BASE)

    def run(self) -> ContainerEnd:
        """Fill the folder and run the container to its end."""
        try:
            found = self.find()
            if found is not None:
                return taken_up(self._run, found, self._plan.maximum_seconds, self.syncs)
            mounts = self.prepare()
            return run_to_end(
                self._run, lambda: self.start(mounts), self._plan.maximum_seconds, self.syncs
            )
        finally:
            self.tidy()

    @property
    def name(self) -> str:
        """The container's, for the runtime."""
        name = self._plan.name
        return name if self._peers is None else f"{name}-{self._peers.host}"

    def find(self) -> RunningJob | None:
        """What an earlier gateway left of it, to be waited for; None where it never started.

        Raises:
            ExitStatusLost: it had started, and nothing tells what became of it.
        """
        if self._run.past is None:
            return None
        job = self._run.past.jobs.get(self.name)
        if job is not None:
            return job
        outcome = kept_outcome(self._outcome)
        if outcome is not None:
            return EndedJob(outcome)
        if self._started.exists():
            raise ExitStatusLost(
                f"Job {self.name} ran when its gateway was killed, and its exit status is lost",
                next_step=self._run.how_to_repeat,
            )
        return None

    def tidy(self) -> None:
        """Remove what was only needed while it ran."""
        if self._scratch.exists():  # links; nothing is lost with them
            shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def maximum_seconds(self) -> int:
        return self._plan.maximum_seconds

    def sync(self) -> None:
        """Bring the S3 prefixes of synced folders up to date with what the job left.

        Raises:
            StepFailure: a bucket is missing, or a link leads out of ``/opt/ml``.
        """
        for each in self.syncs:
            each.finish()

    def gather(self) -> None:
        """Put the results of all instances together: there is one."""

    def holds(self, name: str) -> bool:
        """Whether the job has left anything in a folder below ``/opt/ml``."""
        folder = self.folder / name
        return folder.is_dir() and any(folder.iterdir())

    def read_message(self, name: str) -> str:
        """A text that the container left below ``/opt/ml`` about itself; empty without one."""
        file = (self.folder / name).resolve()
        if not file.is_relative_to(self.folder.resolve()) or not file.is_file():
            return ""  # a link out of the folder would tell of this machine, not of the job
        with file.open("rb") as content:
            return content.read(LONGEST_MESSAGE_BYTES).decode("utf-8", "replace")

    def discard(self) -> None:
        """Remove what the job left, once all that counts is in the store.

        What cannot be removed stays: the job has succeeded, and `mlops clean` sees it again.
        """
        shutil.rmtree(self.folder, onerror=_unlock_and_retry)
        for file in (self._started, self._outcome):
            file.unlink(missing_ok=True)

    def prepare(self) -> tuple[Mount, ...]:
        """Fill the folder; the mounts that go with it."""
        plan = self._plan
        if self._run.past is not None and self._root.exists():
            shutil.rmtree(self._root)  # what an earlier gateway had filled of it
        self._root.parent.mkdir(parents=True, exist_ok=True)
        outputs = (str(self.place(path).relative_to(self.folder)) for path in plan.outputs)
        files = (name.rpartition("/")[0] for name in plan.files)
        _make_folders(self._root, (f"ml/{each}" for each in (*plan.folders, *outputs, *files)))
        for name, text in plan.files.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        stager = InputStager(self._run.parts.objects, self.folder, self._scratch)
        mounts = stager.stage(plan.inputs, plan.outputs)
        for sync in self.syncs:
            sync.assume_uploaded()
        for mount in plan.shared:
            mount.source.mkdir(parents=True, exist_ok=True)
        return (*mounts, *plan.shared)

    def start(self, mounts: tuple[Mount, ...]) -> RunningJob:
        """Start the container."""
        plan, run = self._plan, self._run
        job = run.parts.runtime.start(
            JobSpec(
                name=self.name,
                image=plan.image,
                folder=self.folder,
                log=self.log,
                command=plan.command,
                arguments=plan.arguments,
                environment=plan.environment,
                mounts=mounts,
                labels=run.labels,
                peers=self._peers,
                outcome=self._outcome,
            )
        )
        self._started.touch()
        return job


@dataclass(frozen=True, slots=True)
class EndedJob:
    """Implements `ports.RunningJob` for one that has ended and been cleared away."""

    outcome: JobOutcome

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        return self.outcome

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """There is nothing left to stop."""


def run_to_end(
    run: JobRun,
    start: Callable[[], RunningJob],
    maximum_seconds: int,
    syncs: Sequence[FolderSync],
) -> ContainerEnd:
    """Start a job and see it to its end, which comes at `maximum_seconds` at the latest.

    Raises:
        StepStopped: the job was to stop before it had started.
    """
    clock = run.parts.clock
    if run.stop.requested:
        raise StepStopped("The step was stopped before its job started")
    started_at, started = clock.now(), clock.monotonic()
    outcome, timed_out = _seen_to_its_end(run, start(), started + maximum_seconds, syncs)
    measured = outcome.process_seconds
    seconds = clock.monotonic() - started if measured is None else measured
    return ContainerEnd(outcome, timed_out, started_at, clock.now(), seconds)


def taken_up(
    run: JobRun, job: RunningJob, maximum_seconds: int, syncs: Sequence[FolderSync]
) -> ContainerEnd:
    """See a job to its end that an earlier gateway started; its time has run on meanwhile."""
    if run.past is None:
        raise AssertionError(f"the job of {run.folder} has no past to take up")
    clock, started_at = run.parts.clock, run.past.started_at
    already = (clock.now() - started_at).total_seconds()
    deadline = clock.monotonic() + maximum_seconds - already
    outcome, timed_out = _seen_to_its_end(run, job, deadline, syncs)
    seconds = outcome.process_seconds
    if seconds is not None and seconds < maximum_seconds:
        timed_out = False  # it had ended by itself, in time, while there was no gateway
    ended_at = clock.now()
    wall = (ended_at - started_at).total_seconds()
    return ContainerEnd(
        outcome, timed_out, started_at, ended_at, wall if seconds is None else seconds
    )


def _seen_to_its_end(
    run: JobRun, job: RunningJob, deadline: float, syncs: Sequence[FolderSync]
) -> tuple[JobOutcome, bool]:
    try:
        run.stop.attach(job)
        return _wait(run, job, deadline, syncs)
    except BaseException:
        job.stop(0.0)  # whatever went wrong here, no container stays behind
        raise


def _wait(
    run: JobRun, job: RunningJob, deadline: float, syncs: Sequence[FolderSync]
) -> tuple[JobOutcome, bool]:
    clock = run.parts.clock
    while True:
        left = deadline - clock.monotonic()
        if left <= 0:
            return _end_at_limit(run, job)
        outcome = job.wait(min(left, run.parts.sync_seconds) if syncs else left)
        if outcome is not None:
            return outcome, False
        for sync in syncs:
            sync.look()


def _end_at_limit(run: JobRun, job: RunningJob) -> tuple[JobOutcome, bool]:
    stopping = run.stop.requested
    job.stop(STOP_GRACE_SECONDS if stopping else TIME_LIMIT_GRACE_SECONDS)
    outcome = job.wait()
    if outcome is None:
        raise AssertionError("a runtime answered None to a wait without a time limit")
    return outcome, not stopping
