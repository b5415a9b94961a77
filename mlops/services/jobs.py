"""Processing, Training and Transform jobs: created directly, or made by the steps of pipelines.

All are told of in the same words: a step's ``outputs`` are its job's Describe answer, so that
later steps may refer to it, and a job that was asked for keeps the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from mlops.errors import ServiceError
from mlops.execution.failures import Refused
from mlops.execution.former_jobs import FORMER
from mlops.ports import JsonObject, ResourceRecord, StateStore, StepRecord
from mlops.services.arns import Arns
from mlops.services.operation import Handler
from mlops.services.paging import between, ordered, page
from mlops.services.tags import check_tags, forget_tags, store_tags
from mlops.services.validation import invalid, missing, refuse_unsupported


@dataclass(frozen=True, slots=True)
class JobKind:
    """One kind of job, under the names that SageMaker has for it."""

    step_type: str
    arn_kind: str
    newest_first: bool = False
    """How its jobs are listed where a request does not say it."""
    deletable: bool = True
    """Whether the service has an operation to delete one."""

    @property
    def shape(self) -> str:
        return f"{self.step_type}Job"


PROCESSING = JobKind("Processing", "processing-job")
TRAINING = JobKind("Training", "training-job")
TRANSFORM = JobKind("Transform", "transform-job", newest_first=True, deletable=False)
JOB_KINDS = (PROCESSING, TRAINING, TRANSFORM)

_NOT_HERE = {
    "WarmPoolStatusEquals": "jobs here keep no warm pools",
    "TrainingPlanArnEquals": "there are no training plans here",
}


class DirectJobs(Protocol):
    """What runs jobs that somebody asks for; ``mlops.execution.DirectJobs`` does."""

    def create(self, kind: str, request: JsonObject, arn: str) -> ResourceRecord: ...
    def stop(self, record: ResourceRecord) -> None: ...
    def delete(self, record: ResourceRecord) -> None: ...


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job, whoever made it."""

    name: str
    created_at: datetime
    changed_at: datetime
    described: JsonObject
    log: str | None
    """Below the state folder."""
    direct: ResourceRecord | None = None
    """Where somebody asked for it; None of a step's."""


class KnownJobs:
    """Every job of a state folder."""

    def __init__(self, state: StateStore) -> None:
        self._state = state

    def find(self, kind: JobKind, name: str) -> KnownJob | None:
        record = self._state.get_resource(kind.arn_kind, name)
        if record is not None:
            return _of_record(record)
        step = self._state.find_step_by_job(kind.step_type, name)
        if step is not None and step.outputs:
            return _of_step(step)
        former = self._state.get_resource(f"{FORMER}{kind.arn_kind}", name)
        return None if former is None else _of_former(former)

    def all(self, kind: JobKind) -> Sequence[KnownJob]:
        """The oldest first."""
        return sorted(self._each(kind), key=lambda job: job.created_at)

    def _each(self, kind: JobKind) -> Iterator[KnownJob]:
        for step in reversed(self._state.list_job_steps(kind.step_type)):
            if step.outputs:
                yield _of_step(step)
        for record in self._state.list_resources(kind.arn_kind):
            yield _of_record(record)
        for record in self._state.list_resources(f"{FORMER}{kind.arn_kind}"):
            yield _of_former(record)


def _of_former(record: ResourceRecord) -> KnownJob:
    """The job of an attempt at a step that another one followed: the step's, too."""
    return replace(_of_record(record), direct=None)


def _of_record(record: ResourceRecord) -> KnownJob:
    return KnownJob(
        record.name,
        record.created_at,
        record.last_modified_at,
        record.document["described"],
        record.document["log"],
        record,
    )


def _of_step(step: StepRecord) -> KnownJob:
    changed = step.ended_at or step.started_at
    return KnownJob(step.job_name or "", step.started_at, changed, step.outputs, step.log)


class JobOperations:
    def __init__(self, state: StateStore, jobs: DirectJobs, arns: Arns) -> None:
        self._state = state
        self._jobs = jobs
        self._arns = arns
        self._known = KnownJobs(state)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        found: dict[str, Handler] = {}
        for kind in JOB_KINDS:
            found[f"Create{kind.shape}"] = partial(self._create, kind)
            found[f"Describe{kind.shape}"] = partial(self._describe, kind)
            found[f"List{kind.shape}s"] = partial(self._list, kind)
            found[f"Stop{kind.shape}"] = partial(self._stop, kind)
            if kind.deletable:
                found[f"Delete{kind.shape}"] = partial(self._delete, kind)
        return found

    def _create(self, kind: JobKind, request: JsonObject) -> JsonObject:
        name = request[f"{kind.shape}Name"]
        arn = self._arns.job(kind.arn_kind, name)
        if self._known.find(kind, name) is not None:
            raise ServiceError("ResourceInUse", f"Job name must be unique: {arn} exists")
        tags = request.get("Tags", [])
        check_tags(tags)
        try:
            self._jobs.create(kind.arn_kind, request, arn)
        except Refused as error:
            raise invalid(error.details) from error
        store_tags(self._state, arn, tags)
        return {f"{kind.shape}Arn": arn}

    def _describe(self, kind: JobKind, request: JsonObject) -> JsonObject:
        return self._find("Describe", kind, request).described

    def _stop(self, kind: JobKind, request: JsonObject) -> JsonObject:
        self._jobs.stop(self._direct("Stop", kind, request, "StopPipelineExecution stops it"))
        return {}

    def _delete(self, kind: JobKind, request: JsonObject) -> JsonObject:
        record = self._direct("Delete", kind, request, "DeletePipeline deletes it")
        self._jobs.delete(record)
        forget_tags(self._state, record.arn)
        return {}

    def _find(self, verb: str, kind: JobKind, request: JsonObject) -> KnownJob:
        job = self._known.find(kind, request[f"{kind.shape}Name"])
        if job is None:
            raise missing(f"{verb}{kind.shape}", "Requested resource not found.")
        return job

    def _direct(
        self, verb: str, kind: JobKind, request: JsonObject, instead: str
    ) -> ResourceRecord:
        job = self._find(verb, kind, request)
        if job.direct is None:
            raise invalid(
                f"The job {job.name} belongs to a step of a pipeline execution: {instead}"
            )
        return job.direct

    def _list(self, kind: JobKind, request: JsonObject) -> JsonObject:
        refuse_unsupported(request, _NOT_HERE)
        jobs = [job for job in self._known.all(kind) if _wanted(job, kind, request)]
        by: dict[str, Callable[[Any], Any]] = {
            "Name": lambda job: job.name,
            "Status": lambda job: job.described.get(f"{kind.shape}Status"),
        }
        jobs = list(ordered(jobs, request, by, newest_first=kind.newest_first))
        rows, token = page(jobs, request, lambda job: job.name)
        return {f"{kind.shape}Summaries": [_summary(row) for row in rows], "NextToken": token}


def _wanted(job: KnownJob, kind: JobKind, request: JsonObject) -> bool:
    status = request.get("StatusEquals")
    return (
        request.get("NameContains", "") in job.name
        and (status is None or job.described.get(f"{kind.shape}Status") == status)
        and between(
            job.created_at, request.get("CreationTimeAfter"), request.get("CreationTimeBefore")
        )
        and between(
            job.changed_at,
            request.get("LastModifiedTimeAfter"),
            request.get("LastModifiedTimeBefore"),
        )
    )


def _summary(job: KnownJob) -> JsonObject:
    # The summary's shape takes what it knows of the Describe answer.
    return {"CreationTime": job.created_at, "LastModifiedTime": job.changed_at, **job.described}
