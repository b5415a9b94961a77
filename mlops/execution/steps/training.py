"""The Training step: CreateTrainingJob, run in a container."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from mlops.definition import render_texts
from mlops.errors import NoSuchBucket
from mlops.execution.archives import UnsafeLink, pack
from mlops.execution.cluster import Cluster, Host, training_cluster
from mlops.execution.container import Container, ContainerPlan
from mlops.execution.container_group import ContainerGroup
from mlops.execution.failures import LONGEST_JOB_REASON, StepFailure, refused
from mlops.execution.inputs import Input
from mlops.execution.job_run import JobRun
from mlops.execution.logs import final_metrics, metric_definitions
from mlops.execution.names import timestamp
from mlops.execution.opt_ml import (
    BASE,
    CHECKPOINTS,
    DEFAULT_MAXIMUM_SECONDS,
    TRAINING_FOLDERS,
    relative_to_base,
    training_command,
    training_environment,
    training_files,
)
from mlops.execution.outputs import join_uri, missing_bucket, upload_folders
from mlops.execution.remote_function import explained, remote_function_environment
from mlops.execution.steps.container_job import ContainerJobExecutor
from mlops.execution.steps.job import Job, JobStatus, JobView, not_yet
from mlops.ports import JsonObject, Mount, MountMode
from mlops.s3_uri import split_s3_uri

_CREATE = "CreateTrainingJob"
_REQUIREMENTS = f"{BASE}/cache/requirements"


class TrainingExecutor(ContainerJobExecutor):
    """Runs Training steps."""

    operation = _CREATE
    name_member = "TrainingJobName"
    status_member = "TrainingJobStatus"
    arn_kind = "training-job"
    metadata_member = "TrainingJob"
    message_file = "output/failure"

    def _normalise(self, request: JsonObject) -> JsonObject:
        for name in ("HyperParameters", "Environment"):
            if isinstance(request.get(name), dict):
                request[name] = render_texts(request[name])
        request.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAXIMUM_SECONDS})
        return request

    def _check(self, request: JsonObject) -> None:
        _check_algorithm(request)
        cluster = training_cluster(request)
        if not cluster.hosts:  # the model's TrainingInstanceCount begins at 0
            raise refused(_CREATE, "ResourceConfig: the job has no instance; InstanceCount is 0")
        groups = cluster.groups
        mode = request["AlgorithmSpecification"]["TrainingInputMode"]
        for channel in request.get("InputDataConfig", ()):
            _check_channel(channel, channel.get("InputMode", mode), groups)
        checkpoints = request.get("CheckpointConfig")
        if checkpoints and relative_to_base(_checkpoint_path(checkpoints)) is None:
            raise refused(_CREATE, f"CheckpointConfig: LocalPath must begin with {BASE}/")

    def _cluster(self, request: JsonObject) -> Cluster:
        return training_cluster(request)

    def _plan(self, run: JobRun, job: Job, host: Host) -> ContainerPlan:
        request = job.request
        command, arguments = training_command(request)
        checkpoints = request.get("CheckpointConfig")
        synced = ((_checkpoint_path(checkpoints), checkpoints["S3Uri"]),) if checkpoints else ()
        kept = tuple(Input("checkpoints", uri, path, kept=True) for path, uri in synced)
        shared, cache_variable = _requirements_cache(run, request)
        return ContainerPlan(
            name=job.name,
            image=request["AlgorithmSpecification"]["TrainingImage"],
            command=command,
            arguments=arguments,
            environment=cache_variable
            | remote_function_environment(request, run.parts.runtime.name)
            | dict(training_environment(request, job.arn, run.parts.surroundings())),
            files=training_files(request, host),
            folders=TRAINING_FOLDERS,
            inputs=(*_inputs(request, host), *kept),
            outputs=(),
            synced=synced,
            maximum_seconds=request["StoppingCondition"].get(
                "MaxRuntimeInSeconds", DEFAULT_MAXIMUM_SECONDS
            ),
            results=(f"{BASE}/model", f"{BASE}/output/data"),
            shared=shared,
        )

    def _explained(self, request: JsonObject, said: str, log_tail: Sequence[str]) -> str:
        return explained(request, said, log_tail)

    def _keep(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        self._keep_model(run, job, container)
        if container.holds("output/data"):
            self._keep_archive(run, container, "output/data", _output_uri(job, "output.tar.gz"))

    def _keep_stopped(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        # The service keeps what a stopped training has saved: the results are not lost.
        if container.holds("model"):
            self._keep_model(run, job, container)

    def _keep_model(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        uri = _model_uri(job)
        if _compressed(job):
            self._keep_archive(run, container, "model", uri)
        else:
            model = container.folder / "model"
            upload_folders(run.parts.objects, container.folder, [(model, uri)])

    def _keep_archive(
        self, run: JobRun, container: Container | ContainerGroup, name: str, uri: str
    ) -> None:
        bucket, key = split_s3_uri(uri)
        archive = run.folder / key.rpartition("/")[2]
        try:
            pack(container.folder / name, container.folder, archive)
            run.parts.objects.adopt(bucket, key, archive)
        except UnsafeLink as error:
            raise StepFailure(f"ClientError: Artifact upload failed: {error}") from error
        except NoSuchBucket as error:
            raise missing_bucket(uri) from error
        finally:
            archive.unlink(missing_ok=True)

    def _describe(self, run: JobRun, job: Job, view: JobView) -> JsonObject:
        described = {
            name: value
            for name, value in job.request.items()
            if name not in ("Tags", "SessionChainingConfig")
        }
        described |= {
            "TrainingJobArn": job.arn,
            "TrainingJobStatus": str(view.status),
            "SecondaryStatus": _secondary_status(view),
            "ModelArtifacts": {"S3ModelArtifacts": _model_uri(job)},
            "CreationTime": timestamp(job.created_at),
            "LastModifiedTime": timestamp(view.at),
        }
        if view.end is not None:
            seconds = max(1, round(view.end.process_seconds))
            described |= {
                "TrainingStartTime": timestamp(view.end.started_at),
                "TrainingEndTime": timestamp(view.end.ended_at),
                "TrainingTimeInSeconds": seconds,
                "BillableTimeInSeconds": seconds,
            }
            definitions = metric_definitions(job.request["AlgorithmSpecification"])
            metrics = final_metrics(run.log, definitions, timestamp(view.end.ended_at))
            if metrics:
                described["FinalMetricDataList"] = metrics
        if view.failure_reason is not None and view.status is JobStatus.FAILED:
            described["FailureReason"] = view.failure_reason[:LONGEST_JOB_REASON]
        return described


def _secondary_status(view: JobView) -> str:
    if view.status is JobStatus.IN_PROGRESS:
        return "Training"
    timed_out = view.end is not None and view.end.timed_out
    return "MaxRuntimeExceeded" if timed_out else str(view.status)


def _requirements_cache(
    run: JobRun, request: JsonObject
) -> tuple[tuple[Mount, ...], dict[str, str]]:
    """Where our image's `train` keeps what a source's requirements.txt asks for, between jobs.

    Only a job with a source can need it; an image with another `train` does not look at it.
    """
    if "sagemaker_submit_directory" not in request.get("HyperParameters", {}):
        return (), {}
    folder = run.parts.settings.store / "cache" / "requirements"
    mount = Mount(folder, _REQUIREMENTS, MountMode.READ_WRITE)
    return (mount,), {"MLOPS_REQUIREMENTS_CACHE": _REQUIREMENTS}


def _checkpoint_path(checkpoints: JsonObject) -> str:
    return str(checkpoints.get("LocalPath", CHECKPOINTS))


def _inputs(request: JsonObject, host: Host) -> Iterator[Input]:
    """What one host gets of the channels; nothing of those that are another group's."""
    cluster = training_cluster(request)
    for channel in request.get("InputDataConfig", ()):
        name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
        share = cluster.share_of(host, source.get("InstanceGroupNames", ()))
        if share is not None:
            yield Input(
                name,
                source["S3Uri"],
                f"{BASE}/input/data/{name}",
                manifest=source["S3DataType"] == "ManifestFile",
                share=share if _sharded(source) and share.count > 1 else None,
            )


def _sharded(source: JsonObject) -> bool:
    return bool(source.get("S3DataDistributionType") == "ShardedByS3Key")


def _output_uri(job: Job, name: str) -> str:
    """``<S3OutputPath>/<job>/output/<name>``, where the service puts every artifact."""
    return join_uri(job.request["OutputDataConfig"]["S3OutputPath"], job.name, "output", name)


def _compressed(job: Job) -> bool:
    return bool(job.request["OutputDataConfig"].get("CompressionType", "GZIP") == "GZIP")


def _model_uri(job: Job) -> str:
    return _output_uri(job, "model.tar.gz" if _compressed(job) else "model")


def _check_algorithm(request: JsonObject) -> None:
    algorithm = request.get("AlgorithmSpecification")
    if algorithm is None:
        raise not_yet(_CREATE, "A serverless training job", "give it an AlgorithmSpecification")
    if "TrainingImage" not in algorithm:
        raise not_yet(_CREATE, "A training algorithm by name", "give its TrainingImage")
    try:
        metric_definitions(algorithm)
    except ValueError as error:
        raise refused(_CREATE, error) from error


def _check_channel(channel: JsonObject, mode: str, groups: Collection[str]) -> None:
    name, source = f"Channel {channel['ChannelName']!r}", channel["DataSource"].get("S3DataSource")
    if source is None:
        raise not_yet(_CREATE, f"{name} without an S3DataSource", "give it one")
    kind = source["S3DataType"]
    if kind == "AugmentedManifestFile":
        raise not_yet(
            _CREATE,
            f"{name} with S3DataType AugmentedManifestFile, which is for Pipe mode,",
            "list the objects in a ManifestFile, or use S3Prefix",
        )
    if kind not in ("S3Prefix", "ManifestFile"):
        raise not_yet(_CREATE, f"{name} with S3DataType {kind}", "use S3Prefix or ManifestFile")
    for group in source.get("InstanceGroupNames", ()):
        if group not in groups:
            raise refused(
                _CREATE, f"{name}: there is no instance group {group!r}, only {', '.join(groups)}"
            )
    if mode == "Pipe":
        raise not_yet(_CREATE, f"{name} in Pipe mode", "use File or FastFile")
    if mode == "FastFile" and kind == "ManifestFile":
        raise refused(_CREATE, f"{name}: FastFile mode takes an S3Prefix, not a ManifestFile")
    for member in ("CompressionType", "RecordWrapperType"):
        if channel.get(member, "None") != "None":
            raise refused(
                _CREATE, f"{name}: {member} {channel[member]} is for Pipe mode; unset it in File"
            )
