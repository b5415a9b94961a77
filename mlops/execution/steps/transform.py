"""The Transform step: CreateTransformJob, a model's server fed with files from S3."""

from __future__ import annotations

from mlops.definition import render_texts
from mlops.engine import exception_type
from mlops.errors import ServiceError
from mlops.execution.container import ContainerEnd
from mlops.execution.failures import LONGEST_JOB_REASON, reason_for, refused
from mlops.execution.job_run import JobRun
from mlops.execution.names import timestamp
from mlops.execution.step_run import Parts
from mlops.execution.steps.job import Job, JobExecutor, JobStatus, JobView, not_yet, shortened
from mlops.execution.stopping import StepStopped
from mlops.execution.transform.filters import (
    BadData,
    DataProcessing,
    JsonFormat,
    read_data_processing,
)
from mlops.execution.transform.jsonpath import BadPath
from mlops.execution.transform.running import Tally, Transformation, told
from mlops.execution.transform.settings import MOST_PAYLOAD_MB
from mlops.ports import JobOutcome, JsonObject

_CREATE = "CreateTransformJob"


class TransformExecutor(JobExecutor):
    """Runs Transform steps. A job that a gateway left unfinished begins anew: nothing is lost."""

    operation = _CREATE
    name_member = "TransformJobName"
    status_member = "TransformJobStatus"
    arn_kind = "transform-job"
    metadata_member = "TransformJob"

    def carry_out(self, run: JobRun, job: Job) -> JobView:
        """As `JobExecutor.carry_out`."""
        clock, models = run.parts.clock, run.parts.models
        if models is None:
            raise AssertionError("check_here lets no transform job pass without model servers")
        started_at, started = clock.now(), clock.monotonic()
        processing = _processing(job.request)
        try:
            tally = Transformation(run, job.name, job.request, models, processing).carry_out()
        except StepStopped:
            return JobView(JobStatus.STOPPED, clock.now())
        except Exception as error:  # noqa: BLE001 - the job's Describe must say that it failed
            kind = exception_type(error)
            return JobView(
                JobStatus.FAILED, clock.now(), None, shortened(reason_for(error)), "", kind
            )
        seconds = clock.monotonic() - started
        return _view(tally, ContainerEnd(JobOutcome(0), False, started_at, clock.now(), seconds))

    def check_here(self, parts: Parts, request: JsonObject) -> None:
        """Refuse a model that is not there, in the service's words."""
        if parts.models is None:
            raise not_yet(_CREATE, "A transform job outside the gateway", "run its pipeline")
        try:
            parts.models.check(request["ModelName"])
        except ServiceError as error:
            raise refused(_CREATE, error) from error

    def _normalise(self, request: JsonObject) -> JsonObject:
        if isinstance(request.get("Environment"), dict):
            request["Environment"] = render_texts(request["Environment"])
        return request

    def _check(self, request: JsonObject) -> None:
        _check_input(request)
        _check_payload(request)
        if request.get("DataCaptureConfig"):
            raise not_yet(_CREATE, "DataCaptureConfig", "leave it out")
        _processing(request)

    def _describe(self, run: JobRun, job: Job, view: JobView) -> JsonObject:
        described = {name: value for name, value in job.request.items() if name != "Tags"}
        described |= {
            "TransformJobArn": job.arn,
            "TransformJobStatus": str(view.status),
            "CreationTime": timestamp(job.created_at),
        }
        if view.end is not None:
            described["TransformStartTime"] = timestamp(view.end.started_at)
            described["TransformEndTime"] = timestamp(view.end.ended_at)
        if view.failure_reason is not None:
            described["FailureReason"] = view.failure_reason[:LONGEST_JOB_REASON]
        return described


def _view(tally: Tally, end: ContainerEnd) -> JobView:
    if tally.failures:
        return JobView(JobStatus.FAILED, end.ended_at, end, shortened(told(tally)))
    return JobView(JobStatus.COMPLETED, end.ended_at, end)


def _check_input(request: JsonObject) -> None:
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise not_yet(_CREATE, f"S3DataType {source['S3DataType']}", "use S3Prefix or ManifestFile")


def _check_payload(request: JsonObject) -> None:
    """The API Reference, CreateTransformJob: MaxPayloadInMB."""
    payload, concurrent = request.get("MaxPayloadInMB"), request.get("MaxConcurrentTransforms")
    if payload is None:
        return
    if payload > MOST_PAYLOAD_MB:
        raise refused(_CREATE, f"MaxPayloadInMB cannot be greater than {MOST_PAYLOAD_MB} MB")
    if concurrent and payload * concurrent > MOST_PAYLOAD_MB:
        raise refused(
            _CREATE,
            f"MaxConcurrentTransforms * MaxPayloadInMB cannot exceed {MOST_PAYLOAD_MB} MB: they "
            f"are {concurrent} * {payload}",
        )


def _processing(request: JsonObject) -> DataProcessing | None:
    """Its ``DataProcessing``, read; None where it changes nothing."""
    source, target = request["TransformInput"], request["TransformOutput"]
    content_type = source.get("ContentType", "")
    try:
        processing = read_data_processing(
            request.get("DataProcessing", {}), content_type, target.get("Accept", "")
        )
    except (BadPath, BadData) as error:
        raise refused(_CREATE, error) from error
    if processing is not None:
        whole = isinstance(processing.records, JsonFormat) and not processing.records.lines
        by_line = source.get("SplitType") == "Line" and target.get("AssembleWith") == "Line"
        if not whole and not by_line:
            # The Developer Guide says so of CSV; JSON Lines, too, are records by line.
            raise refused(
                _CREATE,
                f"DataProcessing of {content_type} needs SplitType Line and AssembleWith Line",
            )
    return processing
