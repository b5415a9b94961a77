"""The Processing step: CreateProcessingJob, run in a container."""

from __future__ import annotations

from collections.abc import Iterator

from mlops.definition import render_texts
from mlops.execution.cluster import Cluster, Host, processing_cluster
from mlops.execution.container import Container, ContainerPlan
from mlops.execution.container_group import ContainerGroup
from mlops.execution.failures import LONGEST_JOB_REASON, refused
from mlops.execution.inputs import Input
from mlops.execution.job_run import JobRun
from mlops.execution.names import timestamp
from mlops.execution.opt_ml import (
    BASE,
    DEFAULT_MAXIMUM_SECONDS,
    PROCESSING_BASE,
    PROCESSING_FOLDERS,
    processing_command,
    processing_environment,
    processing_files,
    relative_to_base,
)
from mlops.execution.outputs import upload_folders
from mlops.execution.steps.container_job import ContainerJobExecutor
from mlops.execution.steps.job import Job, JobView, not_yet
from mlops.ports import JsonObject

_CREATE = "CreateProcessingJob"


class ProcessingExecutor(ContainerJobExecutor):
    """Runs Processing steps."""

    operation = _CREATE
    name_member = "ProcessingJobName"
    status_member = "ProcessingJobStatus"
    arn_kind = "processing-job"
    metadata_member = "ProcessingJob"
    message_file = "output/message"

    def _normalise(self, request: JsonObject) -> JsonObject:
        if isinstance(request.get("Environment"), dict):
            request["Environment"] = render_texts(request["Environment"])
        request.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAXIMUM_SECONDS})
        return request

    def _check(self, request: JsonObject) -> None:
        for each in _managed_inputs(request):
            _check_input(each)
        for each in _managed_outputs(request):
            _check_output(each)

    def _cluster(self, request: JsonObject) -> Cluster:
        return processing_cluster(request)

    def _plan(self, run: JobRun, job: Job, host: Host) -> ContainerPlan:
        request = job.request
        command, arguments = processing_command(request)
        outputs = [each["S3Output"] for each in _managed_outputs(request)]
        return ContainerPlan(
            name=job.name,
            image=request["AppSpecification"]["ImageUri"],
            command=command,
            arguments=arguments,
            environment=processing_environment(request, job.arn, run.parts.surroundings()),
            files=processing_files(request, job.arn, host),
            folders=PROCESSING_FOLDERS,
            inputs=tuple(_input(each, request, host) for each in _managed_inputs(request)),
            outputs=tuple(each["LocalPath"] for each in outputs),
            synced=tuple(
                (each["LocalPath"], each["S3Uri"]) for each in outputs if _continuous(each)
            ),
            maximum_seconds=request["StoppingCondition"]["MaxRuntimeInSeconds"],
            results=tuple(each["LocalPath"] for each in outputs if not _continuous(each)),
        )

    def _keep(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        outputs = [each["S3Output"] for each in _managed_outputs(job.request)]
        upload_folders(
            run.parts.objects,
            container.folder,
            [
                (container.place(each["LocalPath"]), each["S3Uri"])
                for each in outputs
                if not _continuous(each)
            ],
        )

    def _keep_stopped(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        """EndOfJob outputs are those of a job that completed; Continuous ones are in S3."""

    def _describe(self, run: JobRun, job: Job, view: JobView) -> JsonObject:
        described = {name: value for name, value in job.request.items() if name != "Tags"}
        described |= {
            "ProcessingJobArn": job.arn,
            "ProcessingJobStatus": str(view.status),
            "CreationTime": timestamp(job.created_at),
            "LastModifiedTime": timestamp(view.at),
        }
        if view.end is not None:
            described["ProcessingStartTime"] = timestamp(view.end.started_at)
            described["ProcessingEndTime"] = timestamp(view.end.ended_at)
        if view.message:
            described["ExitMessage"] = view.message[:LONGEST_JOB_REASON]
        if view.failure_reason is not None:
            described["FailureReason"] = view.failure_reason[:LONGEST_JOB_REASON]
        return described


def _managed_inputs(request: JsonObject) -> Iterator[JsonObject]:
    # With AppManaged the application in the container fetches the input itself.
    return (each for each in request.get("ProcessingInputs", ()) if not each.get("AppManaged"))


def _managed_outputs(request: JsonObject) -> Iterator[JsonObject]:
    outputs = request.get("ProcessingOutputConfig", {}).get("Outputs", ())
    return (each for each in outputs if not each.get("AppManaged"))


def _continuous(output: JsonObject) -> bool:
    return bool(output["S3UploadMode"] == "Continuous")


def _input(each: JsonObject, request: JsonObject, host: Host) -> Input:
    source = each["S3Input"]
    share = processing_cluster(request).share_of(host)
    sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
    return Input(
        each["InputName"],
        source["S3Uri"],
        source["LocalPath"],
        manifest=source["S3DataType"] == "ManifestFile",
        share=share if sharded and share is not None and share.count > 1 else None,
    )


def _check_input(each: JsonObject) -> None:
    name, source = f"ProcessingInput {each['InputName']!r}", each.get("S3Input")
    if source is None:
        # The model takes Athena or Redshift and nothing else there: there is no local part of it.
        raise not_yet(
            _CREATE,
            f"{name} with a DatasetDefinition, which queries Athena or Redshift,",
            "write the query's result to S3 and give it an S3Input",
        )
    if source.get("S3InputMode", "File") != "File":
        raise not_yet(_CREATE, f"{name} with S3InputMode Pipe", "use File")
    if source.get("S3CompressionType", "None") != "None":
        raise refused(
            _CREATE, f"{name}: S3CompressionType Gzip can only be used with S3InputMode Pipe"
        )
    if relative_to_base(source.get("LocalPath", ""), PROCESSING_BASE) is None:
        raise refused(
            _CREATE,
            f"{name}: LocalPath {source.get('LocalPath')!r} must begin with {PROCESSING_BASE}/",
        )


def _check_output(each: JsonObject) -> None:
    name, target = f"ProcessingOutput {each['OutputName']!r}", each.get("S3Output")
    if target is None:
        raise not_yet(_CREATE, f"{name} with a FeatureStoreOutput", "give it an S3Output")
    if relative_to_base(target.get("LocalPath", "")) is None:
        raise refused(
            _CREATE, f"{name}: LocalPath {target.get('LocalPath')!r} must begin with {BASE}/"
        )
