"""A gateway whose jobs are real: what SDK v2 makes of its richer forms runs in them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mlops.app import compose_gateway
from mlops.gateway.server import GatewayThread
from mlops.sessions.local import GatewayPipelineSession
from mlops.settings import Settings

BUCKET = Settings().artifact_bucket

# What jobs run on: the images of `make images`, or the project's environment in processes.
RUNTIMES = ["process", pytest.param("docker", marks=pytest.mark.docker)]


@pytest.fixture
def runtime_name() -> str:
    return "process"


@pytest.fixture
def settings(runtime_name: str, tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", runtime=runtime_name)


@pytest.fixture
def url(settings: Settings, request: pytest.FixtureRequest) -> Iterator[str]:
    if settings.runtime == "docker":
        request.getfixturevalue("docker_engine")
    with GatewayThread(compose_gateway(settings)) as address:
        yield address


@pytest.fixture
def session(url: str, settings: Settings) -> GatewayPipelineSession:
    made = GatewayPipelineSession(url, settings)
    made.s3_client.create_bucket(Bucket=BUCKET)
    return made


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(session: GatewayPipelineSession, settings: Settings, tmp_path: Path) -> Run:
    """Run a pipeline of these steps to its end, with what the SDK leaves in the folder it is in.

    The answer is the steps by name, each as ListPipelineExecutionSteps gives it.
    """
    from botocore.exceptions import WaiterError
    from sagemaker.workflow.pipeline import Pipeline

    def run(*steps: Any, **more: Any) -> dict[str, Any]:
        pipeline = Pipeline("Forms", steps=list(steps), sagemaker_session=session, **more)
        pipeline.upsert(role_arn=settings.execution_role_arn)
        execution = pipeline.start()
        with suppress(WaiterError):  # it failed: the steps say how
            execution.wait(delay=0.1, max_attempts=1200)
        return {step["StepName"]: step for step in execution.list_steps()}

    return run


def archive(**files: str) -> bytes:
    """A .tar.gz of files by name."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()


def unpacked(session: GatewayPipelineSession, uri: str) -> dict[str, str]:
    """The files of a .tar.gz in S3 by name."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    content = session.s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read().decode() for name, file in files.items() if file}


def statuses(steps: dict[str, Any]) -> dict[str, str]:
    return {name: step["StepStatus"] for name, step in steps.items()}


def told(steps: dict[str, Any]) -> str:
    """The steps' failure reasons: what an assertion should show."""
    return json.dumps({n: s.get("FailureReason") for n, s in steps.items()}, indent=1)
