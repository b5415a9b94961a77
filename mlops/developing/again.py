"""`run_step`: one step of an execution again, alone, on its recorded inputs.

The Describe answer of the step's job holds its request. It is run as it was, but under a name of
its own and with a place of its own for what it makes: nothing of the execution changes. The job
is the command's, not the gateway's; it ends with the command.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from mlops import app
from mlops.definition import StepType
from mlops.developing.code_in_place import with_code
from mlops.developing.debugger import debugged
from mlops.developing.inside import Attended, Change
from mlops.developing.own_place import own_request
from mlops.developing.shell import in_a_shell
from mlops.errors import UsageError
from mlops.execution.job_run import JobPast
from mlops.execution.names import job_arn, new_job_name
from mlops.execution.step_run import Parts
from mlops.execution.steps import EXECUTORS
from mlops.execution.steps.container_job import ContainerJobExecutor
from mlops.execution.steps.job import Job, JobStatus
from mlops.execution.stopping import StopSignal
from mlops.gateway.client import GatewayClient
from mlops.gateway.following import read_from
from mlops.ports import JsonObject
from mlops.s3_uri import split_s3_uri
from mlops.settings import Settings

ALONE_LABEL = "mlops.alone"
"""On the container of such a job: the state folder. A gateway leaves those with it alone."""
RUN_LABEL = "mlops.alone-run"
"""Tells the container of one command from those of others."""
PREFIX = "steps-again"
"""Below it, in the bucket of the artifacts, is what such jobs make."""
_LOOK_SECONDS = 0.2
_LONGEST_SECONDS = 604_800  # botocore sagemaker ProcessingMaxRuntimeInSeconds

Say = Callable[[str], None]


class Manner(StrEnum):
    RUN = "run"
    DEBUG = "debug"
    """Wait for a debugger before the first line of the step's Python code."""
    SHELL = "shell"
    """A shell in the place of the step's command."""


@dataclass(frozen=True, slots=True)
class StepAgain:
    """How the step ended."""

    execution: str
    step: str
    job: str
    succeeded: bool
    failure_reason: str | None
    folder: Path
    """What the job saw as ``/opt/ml`` is in ``ml`` here, where it failed; its log is here, too."""
    log: Path
    prefix: str
    outputs: tuple[tuple[str, int], ...]
    """The S3 addresses of what it made, and their sizes in bytes."""
    described: JsonObject
    """The Describe answer that its job would have."""


@dataclass(frozen=True, slots=True)
class _Alone:
    """Implements ``JobRun``."""

    parts: Parts
    folder: Path
    step: str
    stop: StopSignal = field(default_factory=StopSignal)
    past: JobPast | None = None
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def labels(self) -> dict[str, str]:
        return {ALONE_LABEL: self.parts.store_label, RUN_LABEL: self.folder.name}

    @property
    def how_to_repeat(self) -> str:
        return "run the command again"


def run_step(
    settings: Settings,
    execution: str,
    step: str,
    *,
    code: Sequence[Path] = (),
    manner: Manner = Manner.RUN,
    say: Say = print,
) -> StepAgain:
    """Run a step of an execution again; returns when its job has ended.

    Args:
        execution: its id.
        code: files that take the place of the step's code files of the same name.
        say: is told what the job writes, and where a debugger is waited for.

    Raises:
        UsageError: there is no such step, it has no job, or it has no code file of that name.
        ExecutionFailed: never: how the job ended is in what is returned.
        EnvironmentLacks: no runtime, no image, no debugger.
    """
    client = app.client(settings)
    executor, described = _recorded(client, execution, step)
    name = new_job_name(execution, step)
    with _parts(settings, client) as parts:
        alone = _Alone(parts, _new_folder(settings, execution, step), step)
        prefix = f"s3://{settings.artifact_bucket}/{PREFIX}/{execution}/{step}/{name[-10:]}"
        parts.objects.create_bucket(settings.artifact_bucket)
        request = own_request(executor.request_in(described), prefix)
        request[executor.name_member] = name
        request = with_code(parts.objects, request, prefix, code)
        change = _change(manner, parts, say)
        if change is not None:
            request["StoppingCondition"] = {"MaxRuntimeInSeconds": _LONGEST_SECONDS}
            alone = replace(alone, parts=replace(parts, runtime=Attended(parts.runtime, change)))
        return _carry_out(executor, alone, request, described, execution, prefix, say, manner)


def _carry_out(
    executor: ContainerJobExecutor,
    alone: _Alone,
    request: JsonObject,
    described: JsonObject,
    execution: str,
    prefix: str,
    say: Say,
    manner: Manner,
) -> StepAgain:
    alone.folder.mkdir(parents=True)
    name = str(request[executor.name_member])
    old = str(described[f"{executor.name_member.removesuffix('Name')}Arn"])
    job = Job(
        name, job_arn(old.rpartition(":")[0] + ":", executor.arn_kind, name), request, _now(alone)
    )
    with _log_told(alone.log, say if manner is not Manner.SHELL else None):
        try:
            view = executor.carry_out(alone, job)
        except BaseException:  # an interrupt: nothing of the job outlives the command
            alone.parts.runtime.remove_leftovers(alone.labels)
            raise
    result = executor.describe(alone, job, view)
    for tidy in alone.afterwards:
        tidy()
    return StepAgain(
        execution=execution,
        step=alone.step,
        job=name,
        succeeded=view.status is JobStatus.COMPLETED,
        failure_reason=view.failure_reason,
        folder=alone.folder,
        log=alone.log,
        prefix=prefix,
        outputs=tuple(_made(alone.parts, prefix)),
        described=result,
    )


def _now(alone: _Alone) -> Any:
    return alone.parts.clock.now()


def _change(manner: Manner, parts: Parts, say: Say) -> Change | None:
    match manner:
        case Manner.DEBUG:
            return debugged(in_containers=parts.runtime.name == "docker", say=say)
        case Manner.SHELL:
            return in_a_shell(say)
        case Manner.RUN:
            return None


def _recorded(
    client: GatewayClient, execution: str, step: str
) -> tuple[ContainerJobExecutor, JsonObject]:
    """The executor of a step's type, and the Describe answer of the step's job."""
    details = client.execution(execution)
    arn = details["execution"]["arn"]
    request = {"PipelineExecutionArn": arn}
    entries = client.pages("ListPipelineExecutionSteps", request, "PipelineExecutionSteps")
    metadata = {str(each["StepName"]): each.get("Metadata", {}) for each in entries}
    types = {str(each["name"]): str(each["type"]) for each in details["steps"]}
    if step not in types:
        raise UsageError(
            f"The step {step!r} has not run in execution {execution}",
            next_step=f"its steps are: {', '.join(types) or 'none'}",
        )
    executor = EXECUTORS.get(StepType(types[step]))
    if not isinstance(executor, ContainerJobExecutor):
        raise UsageError(
            f"The step {step!r} is a {types[step]} step, which runs no job of its own container",
            next_step="give a step that does: Processing or Training",
        )
    made = metadata.get(step, {}).get(executor.metadata_member)
    if made is None:
        raise UsageError(
            f"The step {step!r} made no job in execution {execution}: its request was refused",
            next_step=f"`mlops executions show {execution}` tells why",
        )
    operation = executor.operation.replace("Create", "Describe", 1)
    name = str(made["Arn"]).rpartition("/")[2]
    return executor, client.call(operation, {executor.name_member: name})


@contextmanager
def _parts(settings: Settings, client: GatewayClient) -> Iterator[Parts]:
    runtime = str(client.health()["runtime"]) if settings.runtime == "auto" else settings.runtime
    with app.job_parts(replace(settings, runtime=runtime), client.url) as parts:
        yield parts


def _new_folder(settings: Settings, execution: str, step: str) -> Path:
    # Within the execution's folder `mlops clean` finds it; no step's name has a dot.
    name = f"{step}.again-{secrets.token_hex(4)}"
    return settings.store / "executions" / execution / name


def _made(parts: Parts, prefix: str) -> Iterator[tuple[str, int]]:
    bucket, key = split_s3_uri(prefix)
    for info in parts.objects.list(bucket, f"{key}/outputs/"):
        yield f"s3://{bucket}/{info.key}", info.size


@contextmanager
def _log_told(log: Path, say: Say | None) -> Iterator[None]:
    """Tell the lines of a growing log; at the end what is left of it."""
    if say is None:
        yield
        return
    ended = threading.Event()
    teller = threading.Thread(target=_tell, args=(log, say, ended), daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _tell(log: Path, say: Say, ended: threading.Event) -> None:
    offset, rest, last = 0, "", False
    while True:
        last = ended.wait(_LOOK_SECONDS)
        text = "more"
        while text:
            text, offset = read_from(log, offset)
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                say(line)
        if last:
            break
    if rest:
        say(rest)
