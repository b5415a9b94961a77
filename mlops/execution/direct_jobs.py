"""Jobs that somebody asks for directly: CreateProcessingJob, …TrainingJob, …TransformJob.

The executors are those of steps; here is what a step has from its execution: a record that is
written before anything starts and again when all has ended, a thread, a stop, and the taking up of
what an earlier gateway left. A job's record is a ``ResourceRecord`` of the kind in its ARN
(``training-job``); its document holds the Describe answer and the log's place.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mlops.errors import GatewayUnavailable, MlopsError, ServiceError, StoreError
from mlops.execution.failures import reason_for
from mlops.execution.step_run import Parts
from mlops.execution.steps.job import Job, JobExecutor, JobStatus, JobView
from mlops.execution.steps.processing import ProcessingExecutor
from mlops.execution.steps.training import TrainingExecutor
from mlops.execution.steps.transform import TransformExecutor
from mlops.execution.stopping import STOP_GRACE_SECONDS, StopSignal
from mlops.ports import JsonObject, ResourceRecord, RunningJob, StateStore

JOBS_LABEL = "mlops.jobs-of"
"""On every container of such a job: the state folder. Not a step's label: what is left of steps
that no execution waits for is ended when a gateway starts, these go on."""
JOB_LABEL = "mlops.direct-job"

STOPPING = "Stopping"
CLOSE_SECONDS = STOP_GRACE_SECONDS + 20.0
LONGEST_RETRY_SECONDS = 5.0

EXECUTORS: Mapping[str, JobExecutor] = {
    executor.arn_kind: executor
    for executor in (ProcessingExecutor(), TrainingExecutor(), TransformExecutor())
}
"""By the kind of thing in the ARN."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """Implements ``JobPast``: what an earlier gateway began."""

    started_at: datetime
    described: JsonObject
    jobs: Mapping[str, RunningJob]


@dataclass(frozen=True, slots=True)
class DirectRun:
    """Implements ``JobRun`` for a job that somebody asked for."""

    kind: str
    name: str
    parts: Parts
    stop: StopSignal = field(default_factory=StopSignal)
    past: Begun | None = None
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return f"{self.kind}/{self.name}"

    @property
    def folder(self) -> Path:
        return self.parts.settings.store / "jobs" / self.kind / self.name

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def labels(self) -> dict[str, str]:
        return {JOBS_LABEL: self.parts.store_label, JOB_LABEL: self.key}

    @property
    def how_to_repeat(self) -> str:
        return "create the job again, under another name"


@dataclass(slots=True)
class _Running:
    run: DirectRun
    thread: threading.Thread


class DirectJobs:
    """All such jobs of a state folder. Safe to use from several threads."""

    def __init__(self, state: StateStore, parts: Parts) -> None:
        self._state = state
        self._parts = parts
        self._lock = threading.Lock()
        self._finding = threading.Lock()
        self._running: dict[str, _Running] = {}
        self._found: dict[str, dict[str, RunningJob]] | None = None
        self._closing = threading.Event()

    # --- asked for by the services ---

    def create(self, kind: str, request: JsonObject, arn: str) -> ResourceRecord:
        """Record a job and start it; its status is InProgress when this returns.

        Raises:
            ServiceError: ``ResourceInUse``: there is a job of this name.
            StepFailure: the service would refuse the request, or it does not run here.
            StoreError, DiskFull: it cannot be recorded.
            GatewayUnavailable: the gateway is closing.
        """
        executor = EXECUTORS[kind]
        request = executor.completed(request)
        executor.check_here(self._parts, request)
        name = str(request[executor.name_member])
        job = Job(name, arn, request, self._parts.clock.now())
        run = DirectRun(kind, name, self._parts)
        started = executor.describe(run, job, JobView(JobStatus.IN_PROGRESS, job.created_at))
        record = ResourceRecord(
            kind=kind,
            name=name,
            arn=arn,
            created_at=job.created_at,
            last_modified_at=job.created_at,
            status=str(JobStatus.IN_PROGRESS),
            document={"described": started, "log": self._place_of(run.log)},
        )
        with self._lock:
            if self._closing.is_set():
                raise GatewayUnavailable("The gateway is closing and starts no more jobs")
            if self._state.get_resource(kind, name) is not None:
                raise ServiceError("ResourceInUse", f"Job name must be unique: {arn} exists")
            self._state.put_resource(record)
            self._launch(run, lambda: self._carry_out(run, job))
        return record

    def get(self, kind: str, name: str) -> ResourceRecord | None:
        """A job's record."""
        return self._state.get_resource(kind, name)

    def list(self, kind: str) -> Sequence[ResourceRecord]:
        """The jobs of a kind, the oldest first."""
        return self._state.list_resources(kind)

    def stop(self, record: ResourceRecord) -> None:
        """Begin to stop a job that is InProgress; returns once its record says Stopping.

        Raises:
            ServiceError: ``ValidationException``: it has ended or is stopping already.
        """
        with self._lock:
            now = self._state.get_resource(record.kind, record.name) or record
            running = self._running.get(f"{record.kind}/{record.name}")
            if running is None or now.status != JobStatus.IN_PROGRESS:
                raise ServiceError(
                    "ValidationException",
                    f"The request was rejected because the job {record.name} is in status "
                    f"{now.status}.",
                )
            self._put(now, now.document["described"] | _stopping(record.kind), STOPPING)
        threading.Thread(
            target=running.run.stop.request, name=f"stopping {record.name}", daemon=True
        ).start()

    def delete(self, record: ResourceRecord) -> None:
        """Forget a job that has ended.

        Raises:
            ServiceError: ``ResourceInUse``: it runs.
        """
        with self._lock:
            if f"{record.kind}/{record.name}" in self._running:
                raise ServiceError("ResourceInUse", f"The job {record.name} has not ended: stop it")
            self._state.delete_resource(record.kind, record.name)

    def end_all(self, timeout: float) -> None:
        """Stop every job, and forget all of them.

        Raises:
            StoreError: one has not ended after `timeout` seconds.
        """
        with self._lock:
            running = list(self._running.values())
        for each in running:
            threading.Thread(target=each.run.stop.request, daemon=True).start()
        for each in running:
            each.thread.join(timeout)
            if each.thread.is_alive():
                raise StoreError(f"The job {each.run.name} does not end")
        for kind in EXECUTORS:
            for record in self._state.list_resources(kind):
                self._state.delete_resource(kind, record.name)

    # --- asked for by the manager, for the gateway's life ---

    def up(self) -> int:
        """How many jobs run."""
        with self._lock:
            return len(self._running)

    def names(self) -> Sequence[str]:
        """What runs, as ``training-job/name``."""
        with self._lock:
            return list(self._running)

    def recover(self) -> None:
        """Take up what an earlier gateway left unfinished; returns at once."""
        for kind in EXECUTORS:
            for record in self._state.list_resources(kind):
                if record.status in (JobStatus.IN_PROGRESS, STOPPING):
                    run = DirectRun(kind, record.name, self._parts)
                    with self._lock:
                        self._launch(run, lambda run=run, record=record: self._take_up(run, record))  # type: ignore[misc]  # the defaults keep the loop's values

    def close(self) -> None:
        """Stop every job, wait until each is recorded, and start no more."""
        with self._lock:
            self._closing.set()
            running = list(self._running.values())
        for each in running:
            threading.Thread(target=each.run.stop.request, daemon=True).start()
        for each in running:
            each.thread.join(CLOSE_SECONDS)

    # --- inside, each job in a thread of its own ---

    def _launch(self, run: DirectRun, work: Callable[[], None]) -> None:
        def to_the_end() -> None:
            try:
                work()
            except Exception:  # the record stays unfinished: the next gateway takes it up
                _logger.exception("job %s has no recorded end", run.key)
            finally:
                with self._lock:
                    self._running.pop(run.key, None)

        thread = threading.Thread(target=to_the_end, name=f"job {run.name}", daemon=True)
        self._running[run.key] = _Running(run, thread)
        thread.start()

    def _carry_out(self, run: DirectRun, job: Job) -> None:
        executor = EXECUTORS[run.kind]
        run.folder.mkdir(parents=True, exist_ok=True)
        self._end(run, job, executor.carry_out(run, job))

    def _take_up(self, run: DirectRun, record: ResourceRecord) -> None:
        executor = EXECUTORS[run.kind]
        described = record.document["described"]
        job = executor.made_before(record.arn, described)
        if record.status == STOPPING:
            run.stop.request()
        try:
            jobs = self._find().get(run.key, {})
        except MlopsError as error:
            _logger.exception("the containers of %s cannot be looked for", run.key)
            failed = JobView(JobStatus.FAILED, self._parts.clock.now(), None, reason_for(error))
            self._end(run, job, failed)
            return
        begun = replace(run, past=Begun(record.created_at, described, jobs))
        self._end(begun, job, executor.carry_out(begun, job))

    def _find(self) -> dict[str, dict[str, RunningJob]]:
        """The containers of an earlier gateway by job and name, looked for once."""
        with self._finding:
            if self._found is None:
                found: dict[str, dict[str, RunningJob]] = {}
                for each in self._parts.runtime.find_jobs({JOBS_LABEL: self._parts.store_label}):
                    found.setdefault(each.labels[JOB_LABEL], {})[each.name] = each.job
                self._found = found
            return self._found

    def _end(self, run: DirectRun, job: Job, view: JobView) -> None:
        described = EXECUTORS[run.kind].describe(run, job, view)
        pause = 0.1
        while not self._recorded(run, described, str(view.status)):
            if self._closing.wait(pause):
                return  # to the next gateway it is unfinished
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)
        for tidy in run.afterwards:
            try:
                tidy()
            except Exception:
                _logger.exception("tidying after job %s failed", run.name)

    def _recorded(self, run: DirectRun, described: JsonObject, status: str) -> bool:
        try:
            with self._lock:
                record = self._state.get_resource(run.kind, run.name)
                if record is not None:
                    self._put(record, described, status)
        except MlopsError:
            _logger.exception("the end of job %s is not recorded", run.name)
            return False
        return True

    def _put(self, record: ResourceRecord, described: JsonObject, status: str) -> None:
        self._state.put_resource(
            replace(
                record,
                status=status,
                last_modified_at=self._parts.clock.now(),
                document=record.document | {"described": described},
            )
        )

    def _place_of(self, file: Path) -> str:
        return str(file.relative_to(self._parts.settings.store))


def _stopping(kind: str) -> JsonObject:
    stopping = {EXECUTORS[kind].status_member: STOPPING}
    return stopping | ({"SecondaryStatus": STOPPING} if kind == "training-job" else {})
