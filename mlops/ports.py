"""The seams of the house: what the engine's driver asks of the outside, as Protocols.

Adapters (``runtimes/``, ``stores/``) implement these and know nothing of one another; ``app``
hands them in. One contract suite in ``tests/contract`` runs on every implementation of a port.
The values that travel across a seam are defined here, next to the seam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

JsonObject: TypeAlias = dict[str, Any]  # the shape is botocore's model's, checked at run time


# --- Clock -----------------------------------------------------------------------------------


class Clock(Protocol):
    """Time as the driver sees it, so that tests own it."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        ...


# --- ContainerRuntime ------------------------------------------------------------------------


class MountMode(StrEnum):
    READ_ONLY = "read-only"
    READ_WRITE = "read-write"
    COPY_ON_WRITE = "copy-on-write"
    """The job may write; the source stays as it is."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A host folder or file shown to the job at an absolute path below ``/opt/ml``."""

    source: Path
    target: str
    mode: MountMode


@dataclass(frozen=True, slots=True)
class Peers:
    """The containers of one job that reach one another by host name, as one of them sees them.

    ``network`` is the same for all of them and nobody else's; ``host`` is this container's name.
    """

    network: str
    host: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobSpec:
    """Everything a runtime needs to run one container of a job.

    ``folder`` is the host folder that the job sees, writable, as ``/opt/ml``; the caller has
    filled it (config files) and reads it afterwards (model, output). ``command`` is the
    container's ENTRYPOINT when given (``ContainerEntrypoint``), else the image's own is used;
    ``arguments`` follow it. ``log`` receives stdout and stderr, interleaved, as bytes come.
    ``labels`` let a restarted gateway find what it left running.
    """

    name: str
    image: str
    folder: Path
    log: Path
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    peers: Peers | None = None
    """Set for each container of a job that has several; a name resolves once its container runs."""
    outcome: Path | None = None
    """A file that gets the job's outcome (``job_outcome.keep_outcome``) before what is left of the
    job is removed: so the outcome outlives a gateway that is killed in between."""


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How a container ended. ``exit_status`` is the process's own; a signal counts 128 + n."""

    exit_status: int
    stopped: bool = False
    out_of_memory: bool = False
    process_seconds: float | None = None
    """How long the job's own process ran, without what the runtime did before and after it; None
    where the runtime cannot tell (then the time from ``start`` to the end of ``wait`` counts)."""


class RunningJob(Protocol):
    """One started container."""

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        """Wait until the job has ended and its log is whole; None after `timeout` seconds.

        When it returns an outcome, everything below the job's folder belongs to the caller's
        user and nothing of the job (container, process, mount) is left.

        Raises:
            ExitStatusLost: the job is gone and its exit status cannot be had.
        """
        ...

    def stop(self, grace_seconds: float = 10.0) -> None:
        """Ask the job to end (SIGTERM), and end it (SIGKILL) after `grace_seconds`. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class FoundJob:
    """A job that was started before, by this process of the gateway or an earlier one."""

    name: str
    labels: Mapping[str, str]
    job: RunningJob


SERVERS_LABEL = "mlops.servers-of"
"""On every server: the state folder of the gateway that it belongs to. Not a job's label: what is
left of jobs is ended when a gateway starts, servers go on."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Everything a runtime needs to run one long-lived container: a model server, a function.

    As JobSpec, and: ``port`` is where the container listens; the runtime finds a free port of
    the loopback interface for it (Docker publishes it there; a process is told it in
    ``SAGEMAKER_BIND_TO_PORT``). None is for a container that nobody connects to.
    ``memory_megabytes`` limits the container's memory where the runtime can.
    """

    name: str
    image: str
    folder: Path
    log: Path
    command: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ("serve",)
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    memory_megabytes: int | None = None
    port: int | None = 8080


class RunningServer(Protocol):
    """One started server, of this process of the gateway or of an earlier one."""

    @property
    def name(self) -> str:
        """The name in its ServerSpec."""
        ...

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels in its ServerSpec."""
        ...

    @property
    def address(self) -> str | None:
        """``127.0.0.1:PORT``, the same for the server's whole life; None where it has no port."""
        ...

    def poll(self) -> JobOutcome | None:
        """How it ended; None while it runs. Takes no time to speak of.

        Raises:
            ExitStatusLost: it is gone and its exit status cannot be had.
        """
        ...

    def peak_megabytes(self) -> int | None:
        """The most memory that its processes of now have had; None where nobody can tell."""
        ...

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        """As `RunningJob.wait`: the log is whole and nothing of the server is left afterwards."""
        ...

    def stop(self, grace_seconds: float = 10.0) -> None:
        """As `RunningJob.stop`."""
        ...


class ContainerRuntime(Protocol):
    """Runs job containers. Safe to use from several threads."""

    @property
    def name(self) -> str:
        """``docker``, ``process`` or ``fake``."""
        ...

    @property
    def gateway_host(self) -> str:
        """The address under which a job reaches a server of this host."""
        ...

    def start(self, job: JobSpec) -> RunningJob:
        """Start a job and return at once.

        Raises:
            ImageUnavailable: no local image stands for ``job.image``.
            RuntimeUnavailable: the job cannot run here (the reason says why).
            JobError: the container could not be created or started.
        """
        ...

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        """The jobs that carry all `labels` and were not cleared away, running or ended. No servers.

        Also those that an earlier process of the gateway started: whoever waits for them gets
        their real exit status and their whole log. A job whose gateway was killed before its
        program ran is cleared away here, and not among them.

        Raises:
            RuntimeUnavailable, JobError: they cannot be looked for.
        """
        ...

    def serve(self, server: ServerSpec) -> RunningServer:
        """Start a server and return at once, perhaps before it listens.

        The server outlives the gateway's process; whoever started it ends it, now or, after a
        restart, through `find_servers`. `remove_leftovers` ends servers, too.

        Raises:
            ImageUnavailable, RuntimeUnavailable, JobError, DiskFull: as `start`.
        """
        ...

    def find_servers(self, labels: Mapping[str, str]) -> Sequence[RunningServer]:
        """The servers that carry all `labels` and were not cleared away, running or ended.

        Also those that an earlier process of the gateway started. Each call may give new objects
        for the same server; one that has ended answers its outcome to `poll`.
        """
        ...

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        """End and remove every job and server that carries all `labels`; return their names."""
        ...


# --- ObjectStore -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's head. ``etag`` has no quotes; ``metadata`` is the user's (``x-amz-meta-*``)."""

    key: str
    size: int
    etag: str
    last_modified: datetime
    content_type: str = "binary/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)


class ObjectStore(Protocol):
    """S3 as plain files, as far as jobs and services need it. Safe to use from several threads.

    Keys are S3 keys; the store decides which file holds one. Every method raises NoSuchBucket,
    NoSuchKey or InvalidKey where it applies.
    """

    def create_bucket(self, bucket: str) -> None:
        """Make `bucket`; no error when it exists."""
        ...

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        """Write an object whole or not at all."""
        ...

    def adopt(self, bucket: str, key: str, file: Path) -> ObjectInfo:
        """Move a finished file into the store, without a copy when it is on the same disk.

        The file must not be open for writing anywhere; it is gone from its place afterwards.
        """
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo: ...

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open an object for reading; the bytes stay the same even if it is replaced meanwhile."""
        ...

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """Every object whose key starts with `prefix`, in the order of the keys' UTF-8 bytes."""
        ...

    def folder_of(self, bucket: str, prefix: str) -> Path | None:
        """The folder that holds exactly the objects whose key starts with `prefix`.

        They lie there under their own names. `prefix` may be written without the last ``/``. None
        where no folder is the same as the prefix (it is an object itself, cuts through a name or
        is the start of a sibling's name, or a key's file name is not the key); the caller then
        links the objects into a folder of its own. The folder
        belongs to the store: mount it copy-on-write, never write to it.
        """
        ...

    def file_of(self, bucket: str, key: str) -> Path:
        """The file that holds an object. Never write to it, and never hard-link it to a writer."""
        ...

    def delete(self, bucket: str, key: str) -> None: ...


# --- BlobStore and ImageSource ---------------------------------------------------------------


class BlobStore(Protocol):
    """Contents named by their digest (``sha256:`` and 64 hexadecimal digits), and uploads of some.

    What a method has returned of survives kill -9, the bytes of an unfinished upload included.
    Safe to use from several threads; one upload takes one writer at a time.

    Raises:
        DiskFull, StoreError: as the disk refuses.
    """

    def begin(self, upload: str) -> None:
        """Start an upload under a name that nobody else has."""
        ...

    def received(self, upload: str) -> int | None:
        """How many bytes of it are here; None where there is no such upload."""
        ...

    def append(self, upload: str, pieces: Iterable[bytes]) -> int:
        """Add to an upload; the bytes it has then. Where `pieces` raises, what came before stays.

        Raises:
            UploadInUse: another thread is adding to it.
        """
        ...

    def digest(self, upload: str) -> str:
        """The digest of what has come so far."""
        ...

    def publish(self, upload: str, digest: str) -> None:
        """Make the upload the content of its `digest`, which the caller has asked for before."""
        ...

    def cancel(self, upload: str) -> None: ...
    def uploads(self) -> Mapping[str, datetime]:
        """Every unfinished upload, and when it last grew."""
        ...

    def put(self, data: bytes) -> str:
        """Keep a small content whole; its digest."""
        ...

    def size(self, digest: str) -> int | None: ...
    def open(self, digest: str) -> BinaryIO:
        """The content to read from; it stays readable where it is deleted meanwhile.

        Raises:
            NoSuchBlob: it is not here.
        """
        ...

    def delete(self, digest: str) -> None: ...
    def digests(self) -> Sequence[str]: ...
    def clear(self) -> None:
        """Delete every content and every upload."""
        ...


@dataclass(frozen=True, slots=True)
class RegistryImage:
    """An image in the gateway's own registry, as the engine of this machine can pull it."""

    repository: str
    """``127.0.0.1:<port>/<name>``."""
    digest: str
    username: str
    password: str = field(repr=False)

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


ImageSource: TypeAlias = Callable[[str], RegistryImage | None]
"""What an image URI means in the gateway's own registry; None where it has no such repository.

It raises ``ImageUnavailable`` where the repository is there and the image is not.
"""


# --- StateStore ------------------------------------------------------------------------------


class ExecutionStatus(StrEnum):
    """botocore sagemaker ``PipelineExecutionStatus``."""

    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"
    COMPLETED_WITH_FAILURES = "CompletedWithFailures"
    """Steps failed, and steps that wait for such failures have run."""

    @property
    def ended(self) -> bool:
        return self not in (self.EXECUTING, self.STOPPING)


class StepStatus(StrEnum):
    """botocore sagemaker ``StepStatus``."""

    STARTING = "Starting"
    EXECUTING = "Executing"
    STOPPING = "Stopping"
    STOPPED = "Stopped"
    FAILED = "Failed"
    SUCCEEDED = "Succeeded"

    @property
    def ended(self) -> bool:
        return self in (self.STOPPED, self.FAILED, self.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRecord:
    name: str
    arn: str
    definition: str
    role_arn: str
    created_at: datetime
    last_modified_at: datetime
    display_name: str | None = None
    description: str | None = None
    max_parallel_steps: int | None = None
    client_request_token: str | None = None
    """The ClientRequestToken of the CreatePipeline that made it: the same again is no duplicate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One run of a pipeline. ``definition`` is the text that it was started with."""

    arn: str
    id: str
    pipeline_name: str
    pipeline_arn: str
    definition: str
    parameters: Mapping[str, str]
    """As given to StartPipelineExecution: names to strings, defaults not filled in."""
    status: ExecutionStatus
    display_name: str
    started_at: datetime
    last_modified_at: datetime
    description: str | None = None
    failure_reason: str | None = None
    max_parallel_steps: int | None = None
    client_request_token: str | None = None
    retry_token: str | None = None
    """The ClientRequestToken of the RetryPipelineExecution that it was last taken up by."""
    selective: JsonObject | None = None
    """botocore's ``SelectiveExecutionConfig``, where only a part of the pipeline runs."""
    cache_mode: str | None = None
    """How its steps use earlier runs: one of `settings.CACHE_MODES`, or ``off``; None as the
    gateway's own setting says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of an execution.

    ``metadata`` is botocore's ``PipelineExecutionStepMetadata``; ``outputs`` is what later steps
    may refer to: the Describe answer of the step's job (or ``Outcome``, …). ``overhead_seconds``
    is the wall time of the step less the time in which its job's own process ran.
    """

    execution_arn: str
    name: str
    type: str
    status: StepStatus
    started_at: datetime
    position: int
    """Order of start within the execution, from 0."""
    ended_at: datetime | None = None
    failure_reason: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    outputs: JsonObject = field(default_factory=dict)
    job_name: str | None = None
    attempts: int = 1
    cache_hit: bool = False
    reused_from: str | None = None
    """Of a step that a selective execution did not run: the ARN of the execution that lends it."""
    cached_from: str | None = None
    """Of a cache hit: the ARN of the execution whose step made the outputs."""
    overhead_seconds: float = 0.0
    log: str | None = None
    """The whole log's path below the state folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A step that succeeded, so that a later run of it may take over its outputs.

    ``key`` stands for the pipeline, the step and everything that makes two runs of it the same.
    ``objects`` says of each of its output URIs what was there: ``count`` and ``digest``.
    """

    key: str
    execution_arn: str
    step_name: str
    made_at: datetime
    objects: JsonObject


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an execution. ``sequence`` counts from 1 within it."""

    execution_arn: str
    sequence: int
    at: datetime
    kind: str
    """``execution`` or ``step``."""
    data: JsonObject
    """For a step: name, type, status, failure_reason, seconds, overhead_seconds, job_name, detail;
    for an execution: status, failure_reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackageGroupRecord:
    name: str
    arn: str
    created_at: datetime
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPackageRecord:
    """A version in a group. ``request`` is the CreateModelPackage request that made it."""

    arn: str
    group_name: str
    version: int
    approval_status: str
    created_at: datetime
    last_modified_at: datetime
    request: JsonObject
    approval_description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    name: str
    arn: str
    created_at: datetime
    request: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRecord:
    """A thing of an AWS service that needs no table of its own.

    ``kind`` is ``endpoint``, ``endpoint-config``, ``function``, …; ``name`` is unique within it.
    ``document`` is the owner's: requests, answers, whatever it has to find again.
    """

    kind: str
    name: str
    arn: str
    created_at: datetime
    last_modified_at: datetime
    status: str
    document: JsonObject


class StateStore(Protocol):
    """What the gateway knows, surviving kill -9: a method has returned means it is on disk.

    Safe to use from several threads. ``transaction`` makes several calls one.
    A ``get_*`` answers None for a thing that is not there.
    """

    def transaction(self) -> AbstractContextManager[None]: ...

    def put_pipeline(self, pipeline: PipelineRecord) -> None: ...
    def get_pipeline(self, name: str) -> PipelineRecord | None: ...
    def list_pipelines(self) -> Sequence[PipelineRecord]: ...
    def delete_pipeline(self, name: str) -> None:
        """Delete a pipeline together with its executions, as DeletePipeline does in AWS."""
        ...

    def put_execution(self, execution: ExecutionRecord) -> None: ...
    def get_execution(self, arn: str) -> ExecutionRecord | None: ...
    def find_execution(self, execution_id: str) -> ExecutionRecord | None: ...
    def find_execution_by_token(
        self, pipeline_name: str, client_request_token: str
    ) -> ExecutionRecord | None: ...
    def list_executions(
        self,
        pipeline_name: str | None = None,
        *,
        newest_first: bool = True,
        limit: int | None = None,
        offset: int = 0,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
    ) -> Sequence[ExecutionRecord]: ...
    def unfinished_executions(self) -> Sequence[ExecutionRecord]: ...

    def put_step(self, step: StepRecord) -> None: ...
    def get_step(self, execution_arn: str, name: str) -> StepRecord | None: ...
    def list_steps(self, execution_arn: str) -> Sequence[StepRecord]:
        """In the order of their start."""
        ...

    def find_step_by_job(self, step_type: str, job_name: str) -> StepRecord | None: ...
    def list_job_steps(self, step_type: str) -> Sequence[StepRecord]:
        """Every step of a type that has made a job, the newest first."""
        ...

    def put_cache_entry(self, entry: CacheEntry) -> None:
        """Keep what a step made; a step of an execution has one entry, the last."""
        ...

    def find_cache_entry(self, key: str, *, made_after: datetime | None) -> CacheEntry | None:
        """The newest entry of a key that was made after a moment; None without one."""
        ...

    def append_event(
        self, execution_arn: str, at: datetime, kind: str, data: JsonObject
    ) -> Event: ...
    def events_after(self, execution_arn: str, sequence: int) -> Sequence[Event]: ...

    def put_model_package_group(self, group: ModelPackageGroupRecord) -> None: ...
    def get_model_package_group(self, name: str) -> ModelPackageGroupRecord | None: ...
    def list_model_package_groups(self) -> Sequence[ModelPackageGroupRecord]: ...
    def delete_model_package_group(self, name: str) -> None: ...

    def add_model_package(self, package: ModelPackageRecord) -> ModelPackageRecord:
        """Store a new version; ``version`` and the number at the end of ``arn`` are given here.

        Raises:
            StoreError: the group does not exist.
        """
        ...

    def update_model_package(self, package: ModelPackageRecord) -> None: ...
    def get_model_package(self, arn: str) -> ModelPackageRecord | None: ...
    def list_model_packages(
        self, group_name: str | None = None
    ) -> Sequence[ModelPackageRecord]: ...
    def delete_model_package(self, arn: str) -> None: ...

    def put_model(self, model: ModelRecord) -> None: ...
    def get_model(self, name: str) -> ModelRecord | None: ...
    def list_models(self) -> Sequence[ModelRecord]: ...
    def delete_model(self, name: str) -> None: ...

    def put_resource(self, resource: ResourceRecord) -> None: ...
    def get_resource(self, kind: str, name: str) -> ResourceRecord | None: ...
    def list_resources(self, kind: str) -> Sequence[ResourceRecord]:
        """Every resource of a kind, in the order of their making."""
        ...

    def delete_resource(self, kind: str, name: str) -> None: ...

    def clear(self) -> None:
        """Forget everything."""
        ...

    def get_tags(self, arn: str) -> Mapping[str, str]: ...
    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None: ...
    def delete_tags(self, arn: str, keys: Sequence[str]) -> None: ...


# --- ModelRegistry ---------------------------------------------------------------------------


class ModelRegistry(Protocol):
    """Where a RegisterModel or Model step puts its result: the SageMaker service's own operations.

    Requests and answers are botocore's CreateModelPackage, DescribeModelPackage, CreateModel and
    DescribeModel shapes. A RegisterModel step makes the group it names when that is missing.

    Raises:
        ServiceError: as the operation would answer.
    """

    def register(self, request: JsonObject) -> JsonObject:
        """CreateModelPackage; returns the DescribeModelPackage answer of the new version."""
        ...

    def create_model(self, request: JsonObject) -> JsonObject:
        """CreateModel; returns the DescribeModel answer."""
        ...


# --- EndpointHost ----------------------------------------------------------------------------


class EndpointHost(Protocol):
    """Where models are served: the endpoint operations of sagemaker and sagemaker-runtime.

    Requests and answers are botocore's shapes of the operation of the same name; create and
    update answer as DescribeEndpointConfig and DescribeEndpoint would. Safe to use from several
    threads.

    Raises:
        ServiceError: as the operation would answer.
    """

    def create_endpoint_config(self, request: JsonObject) -> JsonObject: ...
    def describe_endpoint_config(self, name: str) -> JsonObject: ...
    def delete_endpoint_config(self, name: str) -> None: ...

    def create_endpoint(self, request: JsonObject) -> JsonObject:
        """Start an endpoint; ``EndpointStatus`` is Creating when this returns."""
        ...

    def update_endpoint(self, request: JsonObject) -> JsonObject:
        """Start the change; the former servers answer until the new ones do."""
        ...

    def describe_endpoint(self, name: str) -> JsonObject: ...

    def wait_for_endpoint(self, name: str, timeout: float | None = None) -> JsonObject:
        """Wait until its status is InService, Failed or OutOfService, at most `timeout` seconds.

        Returns the DescribeEndpoint answer of then: the caller looks at ``EndpointStatus``.
        """
        ...

    def delete_endpoint(self, name: str) -> None:
        """End an endpoint's servers; none of them runs when this returns."""
        ...

    def invoke_endpoint(self, request: JsonObject) -> JsonObject:
        """InvokeEndpoint; ``Body`` is bytes in the request and in the answer."""
        ...


# --- ModelServers ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What came of one request to a model's server."""

    status: int | None
    """None where no answer came; ``problem`` says why."""
    body: bytes = b""
    problem: str = ""


class ModelServer(Protocol):
    """One server of a model, for one batch job alone. Safe to use from several threads."""

    def wait_until_ready(self) -> None:
        """Wait for the first 200 to ``GET /ping``.

        Raises:
            JobError: it has ended, or did not answer in its time; its log's end is in the text.
        """
        ...

    def parameters(self) -> JsonObject:
        """Its answer to ``GET /execution-parameters``; empty where it has none."""
        ...

    def invoke(
        self, body: bytes | Sequence[bytes], headers: Mapping[str, str], timeout: float
    ) -> ModelAnswer:
        """``POST /invocations``; a body in parts goes out in chunks."""
        ...

    def stop(self, grace_seconds: float = 10.0) -> None:
        """End it; nothing of it runs when this returns. Idempotent."""
        ...


class ModelServers(Protocol):
    """Starts servers of models for batch jobs."""

    def check(self, model_name: str) -> None:
        """Raises:
        ServiceError: ``ValidationException``: there is no such model, or it cannot run here.
        """
        ...

    def start(
        self,
        model_name: str,
        *,
        name: str,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> ModelServer:
        """Start a server with the model's files in `folder`, which becomes its ``/opt/ml``.

        The variables in `environment` win over the model's own.

        Raises:
            ServiceError: as `check`.
            ImageUnavailable, RuntimeUnavailable, JobError, DiskFull: it cannot be started.
        """
        ...


# --- QueueHost -------------------------------------------------------------------------------


class QueueHost(Protocol):
    """Where Callback steps send their messages: SendMessage of sqs, in botocore's shapes.

    Safe to use from several threads.

    Raises:
        ServiceError: as the operation would answer.
    """

    def send_message(self, request: JsonObject) -> JsonObject: ...


# --- FunctionHost ----------------------------------------------------------------------------


class FunctionHost(Protocol):
    """Where Lambda functions run: operations of lambda, in botocore's shapes.

    Safe to use from several threads.

    Raises:
        ServiceError: as the operation would answer.
    """

    def create_function(self, request: JsonObject) -> JsonObject: ...

    def update_function_code(self, request: JsonObject) -> JsonObject: ...

    def get_function(self, name: str) -> JsonObject:
        """GetFunction; `name` is a function's name or its ARN."""
        ...

    def delete_function(self, name: str) -> None: ...

    def invoke(self, request: JsonObject) -> JsonObject:
        """Invoke; ``Payload`` is bytes in the request and in the answer."""
        ...
