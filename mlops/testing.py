"""What the pytest fixtures hand out; usable without pytest, too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mlops.errors import ExecutionFailed, UsageError
from mlops.ports import JsonObject
from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient

PATIENCE_SECONDS = 600.0
_ENDED = ("Succeeded", "CompletedWithFailures", "Failed", "Stopped")
_TAIL_LINES = 20


class PipelineRunner(Protocol):
    """The type of ``run_pipeline``."""

    def __call__(
        self,
        pipeline: Any,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = PATIENCE_SECONDS,
    ) -> PipelineRun: ...


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one step ended."""

    name: str
    type: str
    status: str
    failure_reason: str | None
    log: str
    """All that its job wrote; empty where it made none."""


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """How an execution ended. As text it says all that a failed assertion has to say."""

    arn: str
    status: str
    failure_reason: str | None
    steps: Mapping[str, StepOutcome]
    """By their names, in the order of their start; steps that were never started are not here."""

    @property
    def succeeded(self) -> bool:
        return self.status == "Succeeded"

    def __str__(self) -> str:
        lines = [f"{self.arn} {self.status}: {self.failure_reason or 'no reason given'}"]
        for step in self.steps.values():
            lines.append(f"  {step.name} ({step.type}) {step.status}")
            if step.failure_reason:
                lines.append(f"    {step.failure_reason}")
                lines += [f"    | {line}" for line in step.log.splitlines()[-_TAIL_LINES:]]
        return "\n".join(lines)


class SagemakerLocal:
    """A gateway for one test: its address, its clients, its files."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        self.settings = settings

    @property
    def role(self) -> str:
        """The execution role's ARN, for whatever asks for one."""
        return self.settings.execution_role_arn

    @property
    def bucket(self) -> str:
        """The session's default bucket; it exists."""
        return self.settings.artifact_bucket

    def client(self, service: str) -> Any:
        """A boto3 client of this gateway."""
        from mlops.aws import gateway_session

        return gateway_session(self.url, self.settings.region).client(service)

    def pipeline_session(self) -> Any:
        """The SDK's LocalPipelineSession whose clients talk to this gateway."""
        from mlops.sessions.local import GatewayPipelineSession

        return GatewayPipelineSession(self.url, self.settings)

    def read(self, uri: str) -> bytes:
        """The object at ``s3://bucket/key``."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def reset(self) -> None:
        """Delete all that there is and make the default bucket anew: as a fresh gateway."""
        from mlops.gateway.client import GatewayClient

        GatewayClient(self.url).reset(self.settings.store)
        self.client("s3").create_bucket(Bucket=self.bucket)

    def run_pipeline(
        self,
        pipeline: Any,
        parameters: Mapping[str, object] | None = None,
        *,
        timeout: float = PATIENCE_SECONDS,
    ) -> PipelineRun:
        """Create `pipeline`, or update it, run it, and tell how it ended, whichever way.

        `pipeline` is the SDK's object, or a definition as text or as a mapping.

        Raises:
            UsageError: it is neither, or a definition that breaks rules.
            ExecutionFailed: it has not ended after `timeout` seconds; it is stopped then.
        """
        from mlops.gateway.client import GatewayClient

        name, text = _definition_of(pipeline)
        client = self.client("sagemaker")
        _upsert(client, name, text, self.role)
        given = [{"Name": key, "Value": str(value)} for key, value in (parameters or {}).items()]
        arn = client.start_pipeline_execution(PipelineName=name, PipelineParameters=given)[
            "PipelineExecutionArn"
        ]
        execution_id = arn.rpartition("/")[2]
        gateway = GatewayClient(self.url)
        if not _wait_for_end(gateway, execution_id, timeout):
            client.stop_pipeline_execution(PipelineExecutionArn=arn)
            raise ExecutionFailed(f"{arn} has not ended after {timeout:g} s and was stopped")
        return self._outcome(gateway.execution(execution_id))

    def _outcome(self, details: JsonObject) -> PipelineRun:
        execution = details["execution"]
        return PipelineRun(
            arn=execution["arn"],
            status=execution["status"],
            failure_reason=execution["failure_reason"],
            steps={step["name"]: self._step(step) for step in details["steps"]},
        )

    def _step(self, step: JsonObject) -> StepOutcome:
        log = self.settings.store / step["log"] if step["log"] else None
        return StepOutcome(
            step["name"],
            step["type"],
            step["status"],
            step["failure_reason"],
            log.read_text("utf-8", "replace") if log is not None and log.is_file() else "",
        )


@contextmanager
def opened(folder: Path, runtime: str | None = None) -> Iterator[SagemakerLocal]:
    """A gateway of this process on the state folder `folder`, ended afterwards with all it made.

    The settings are those of the project (``mlops.toml``, ``MLOPS_*``); `runtime` wins over them.
    Every AWS client that any code of this process makes meanwhile talks to the gateway.

    Raises:
        RuntimeUnavailable, DiskFull, StoreError: why it cannot start.
    """
    from mlops.app import compose_gateway, end_servers
    from mlops.sessions.environment import pointed_at_gateway

    chosen = {"runtime": runtime} if runtime else {}
    fresh = {"store": folder, "gateway_port": 0, "allow_reset": True}
    settings = Settings.load(flags={**fresh, **chosen})
    gateway = compose_gateway(settings)
    try:
        with pointed_at_gateway(gateway.url, settings):
            local = SagemakerLocal(gateway.url, settings)
            local.client("s3").create_bucket(Bucket=local.bucket)
            yield local
    finally:
        gateway.stop()
        end_servers(settings)  # endpoints outlive a gateway; the next test shall not find them


def _definition_of(pipeline: Any) -> tuple[str, str]:
    """A name, and the definition's text."""
    if isinstance(pipeline, str):
        return "pipeline", pipeline
    if isinstance(pipeline, Mapping):
        return "pipeline", json.dumps(pipeline)
    if callable(getattr(pipeline, "definition", None)):
        return str(pipeline.name), str(pipeline.definition())
    raise UsageError(
        f"run_pipeline was given a {type(pipeline).__name__}",
        next_step="give it the SDK's Pipeline, or a definition as text or a mapping",
    )


def _upsert(client: Any, name: str, text: str, role: str) -> None:
    known = client.list_pipelines(PipelineNamePrefix=name)["PipelineSummaries"]
    exists = any(each["PipelineName"] == name for each in known)
    change = client.update_pipeline if exists else client.create_pipeline
    change(PipelineName=name, PipelineDefinition=text, RoleArn=role)


def _wait_for_end(gateway: GatewayClient, execution_id: str, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    seen = 0
    while True:
        left = deadline - time.monotonic()
        news = gateway.follow(execution_id, events=seen, wait=max(0.0, min(left, 10.0)))
        seen = max([seen, *(event["sequence"] for event in news["events"])])
        if news["status"] in _ENDED:
            return True
        if left <= 0:
            return False
