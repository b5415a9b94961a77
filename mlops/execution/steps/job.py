"""What Processing and Training jobs have in common: a request in, a Describe answer out.

``JobExecutor.run`` is the job of a step; ``carry_out`` and ``describe`` serve a job that somebody
asked for directly (``direct_jobs``), too. A kind of job fills in the hooks below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import ClassVar

from mlops import aws_model
from mlops.aws_model import validate_request, without_nulls
from mlops.errors import ServiceError
from mlops.execution.container import ContainerEnd
from mlops.execution.failures import (
    LONGEST_JOB_REASON,
    refused,
    step_failure_reason,
)
from mlops.execution.job_run import JobPast, JobRun
from mlops.execution.logs import last_detail
from mlops.execution.names import job_arn, with_custom_prefix
from mlops.execution.step_run import Announcement, Parts, StepResult, StepRun
from mlops.ports import JsonObject, StepRecord, StepStatus

TAIL_LINES_IN_REASON = 5


class JobStatus(StrEnum):
    """botocore sagemaker ``ProcessingJobStatus`` and ``TrainingJobStatus``."""

    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    STOPPED = "Stopped"


_STEP_STATUS = {
    JobStatus.COMPLETED: StepStatus.SUCCEEDED,
    JobStatus.FAILED: StepStatus.FAILED,
    JobStatus.STOPPED: StepStatus.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was asked for."""

    name: str
    arn: str
    request: JsonObject
    created_at: datetime


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as Describe shows it at one moment."""

    status: JobStatus
    at: datetime
    end: ContainerEnd | None = None
    failure_reason: str | None = None
    message: str = ""
    """What the container left about its end."""
    exception_type: str | None = None
    """Of a failure that a retry policy can name (``engine.retry``)."""

    @property
    def timed_out(self) -> bool:
        """Whether the job was stopped by its own time limit."""
        return self.status is JobStatus.STOPPED and self.failure_reason is not None


class JobExecutor(ABC):
    """Runs one kind of job, and the steps that are such a job."""

    operation: ClassVar[str]
    """The operation that makes the job: ``CreateProcessingJob``."""
    name_member: ClassVar[str]
    """The request's member with the job's name."""
    status_member: ClassVar[str]
    """Where its Describe answer says its status: ``ProcessingJobStatus``."""
    arn_kind: ClassVar[str]
    """As in the job's ARN: ``processing-job``."""
    metadata_member: ClassVar[str]
    """The member of ``PipelineExecutionStepMetadata`` that names the job."""

    def run(self, run: StepRun) -> StepResult:
        """Make the job, announce it, run its container, keep what it made."""
        job = self._make(run) if run.past is None else self._of_step(run, run.past)
        cached = run.parts.cache.look_up(run, job.request)
        if cached.hit is not None and run.past is None:
            return _taken_over(cached.hit)
        metadata = {self.metadata_member: {"Arn": job.arn}}
        if run.past is None:
            started = self.describe(run, job, JobView(JobStatus.IN_PROGRESS, job.created_at))
            run.announce(Announcement(job.name, metadata, started, cached.note))
        view = self.carry_out(run, job)
        outputs = self.describe(run, job, view)
        completed = view.status is JobStatus.COMPLETED
        keep = completed and cached.key is not None
        return StepResult(
            status=StepStatus.FAILED if view.timed_out else _STEP_STATUS[view.status],
            metadata=metadata,
            outputs=outputs,
            failure_reason=view.failure_reason and step_failure_reason(view.failure_reason),
            detail=last_detail(run.log) if completed else None,
            job_name=job.name,
            process_seconds=0.0 if view.end is None else view.end.process_seconds,
            cache_entry=run.parts.cache.entry(run, cached.key or "", outputs) if keep else None,
            exception_type=view.exception_type,
        )

    def _make(self, run: StepRun) -> Job:
        """What CreateProcessingJob or CreateTrainingJob does: check the request, name the job."""
        request = self.request_of(run.resolve_arguments(), run.job_name)
        self.check_here(run.parts, request)
        return self.made_of(run, request)

    def request_of(self, arguments: JsonObject, job_name: str) -> JsonObject:
        """The request that the step's resolved `arguments` make, with the job's name in it.

        Raises:
            StepFailure: the service would refuse it, or it does not run here.
        """
        request = self._normalise(dict(arguments))
        prefix = request.get(self.name_member)
        name = job_name
        if isinstance(prefix, str) and prefix:
            name = with_custom_prefix(prefix, job_name)
        request[self.name_member] = name
        try:
            validate_request("sagemaker", self.operation, request)
        except ServiceError as error:
            raise refused(self.operation, error) from error
        sent: JsonObject = without_nulls(request)
        self._check(sent)
        return sent

    def made_of(self, run: StepRun, request: JsonObject) -> Job:
        """The job that a checked request makes."""
        name = str(request[self.name_member])
        arn = job_arn(run.execution.pipeline_arn, self.arn_kind, name)
        return Job(name, arn, request, run.parts.clock.now())

    def check(self, request: JsonObject) -> None:
        """Refuse what is within the service model and is not taken all the same.

        Raises:
            StepFailure: why.
        """
        self._check(request)

    def foretold(self, run: StepRun, request: JsonObject) -> JsonObject:
        """The Describe answer of the job of `request`, as far as it can be told before it runs."""
        job = self.made_of(run, request)
        return self._describe(run, job, JobView(JobStatus.COMPLETED, job.created_at))

    def _of_step(self, run: StepRun, past: JobPast) -> Job:
        request = self.request_in(past.described)
        arn = job_arn(run.execution.pipeline_arn, self.arn_kind, str(request[self.name_member]))
        return self.made_before(arn, past.described)

    def request_in(self, described: JsonObject) -> JsonObject:
        """The request that a Describe answer holds."""
        members = aws_model.members("sagemaker", self.operation)
        return {name: value for name, value in described.items() if name in members}

    def made_before(self, arn: str, described: JsonObject) -> Job:
        """The job that an earlier gateway made: its Describe answer holds its request."""
        request = self.request_in(described)
        created_at = datetime.fromtimestamp(described["CreationTime"], UTC)
        return Job(str(request[self.name_member]), arn, request, created_at)

    def completed(self, request: JsonObject) -> JsonObject:
        """`request` with what the service fills in, refused where the service would.

        Raises:
            StepFailure: why.
        """
        request = self._normalise(dict(request))
        self._check(request)
        return request

    def describe(self, run: JobRun, job: Job, view: JobView) -> JsonObject:
        """The answer of the job's Describe operation, in botocore's shape."""
        return self._describe(run, job, view)

    @abstractmethod
    def carry_out(self, run: JobRun, job: Job) -> JobView:
        """Run the job to its end and keep what it made; raises nothing."""

    def check_here(self, parts: Parts, request: JsonObject) -> None:  # noqa: B027 - most refuse none
        """Refuse a request for what there is, or is not, in this gateway.

        Raises:
            StepFailure: why.
        """

    # --- hooks ---

    @abstractmethod
    def _normalise(self, request: JsonObject) -> JsonObject:
        """Turn the step's arguments into the request that the pipeline service sends."""

    @abstractmethod
    def _check(self, request: JsonObject) -> None:
        """Refuse (StepFailure) what the service would, and what does not run here yet."""

    @abstractmethod
    def _describe(self, run: JobRun, job: Job, view: JobView) -> JsonObject:
        """The answer of the job's Describe operation, in botocore's shape."""


def _taken_over(source: StepRecord) -> StepResult:
    """The end of a step whose outputs are those of an earlier run."""
    return StepResult(
        status=StepStatus.SUCCEEDED,
        metadata=source.metadata,
        outputs=source.outputs,
        detail=f"cached from {source.execution_arn.rpartition('/')[2]}",
        cached_from=source.execution_arn,
    )


def shortened(reason: str) -> str:
    if len(reason) <= LONGEST_JOB_REASON:
        return reason
    return reason[: LONGEST_JOB_REASON - 1] + "…"


def not_yet(operation: str, what: str, instead: str) -> Exception:
    """The refusal of something that SageMaker has and this project does not run yet."""
    return refused(operation, f"{what} does not run locally yet; {instead}")
