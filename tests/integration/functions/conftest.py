"""Functions in real processes, in containers where an engine answers, and behind the gateway."""

from __future__ import annotations

import base64
import io
import json
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator

from mlops.app import compose_gateway
from mlops.clock import SystemClock
from mlops.functions import FunctionManager
from mlops.gateway.server import GatewayThread
from mlops.ports import ContainerRuntime
from mlops.runtimes.docker_engine import Engine
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/mlops-execution"
IMAGE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/mlops-endpoint-test:latest"
LOCAL_IMAGE = "mlops-endpoint-test:local"

COUNTING = """
import os, time
print("loading")
count = 0

def handler(event, context):
    global count
    count += 1
    print("event", event)
    time.sleep((event or {}).get("sleep", 0))
    return {"count": count, "event": event, "pid": os.getpid(),
            "left": context.get_remaining_time_in_millis(),
            "arn": context.invoked_function_arn, "name": context.function_name,
            "memory": context.memory_limit_in_mb, "id": context.aws_request_id}
"""
"""A handler that counts its invocations, and tells of itself."""


def zipped(source: str) -> bytes:
    """A function's code: `source` as index.py."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.py", textwrap.dedent(source))
    return content.getvalue()


def zip_request(name: str, source: str, **more: Any) -> dict[str, Any]:
    return {
        "FunctionName": name,
        "Role": ROLE,
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Code": {"ZipFile": zipped(source)},
        **more,
    }


@dataclass(frozen=True, slots=True)
class Answered:
    """Invoke's answer, readable."""

    payload: Any
    error: str | None
    log: str


class Functions:
    """A function manager and what tests ask of it."""

    def __init__(self, manager: FunctionManager, settings: Settings, runtime: ContainerRuntime):
        self.manager = manager
        self.settings = settings
        self.runtime = runtime

    def create(self, source: str, name: str = "f", **more: Any) -> str:
        made = self.manager.create_function(zip_request(name, source, **more))
        return str(made["FunctionArn"])

    def invoke(self, event: Any = None, name: str = "f") -> Answered:
        request = {"FunctionName": name, "Payload": json.dumps(event).encode(), "LogType": "Tail"}
        answer = self.manager.invoke(request)
        payload = answer["Payload"]
        with suppress(ValueError):
            payload = json.loads(payload)
        log = base64.b64decode(answer["LogResult"]).decode()
        return Answered(payload, answer.get("FunctionError"), log)

    def servers(self) -> list[str]:
        """The workers that the runtime knows of."""
        labels = {"mlops.functions-of": str(self.settings.store)}
        found = self.runtime.find_servers(labels)
        return [server.name for server in found if server.poll() is None]


@pytest.fixture(scope="session")
def function_image(docker_engine: Engine) -> str:
    """The image of `make images`; CI makes it first."""
    if not docker_engine.has_image(LOCAL_IMAGE):
        from mlops.images import build_images

        build_images(Settings(), progress=lambda line: None)
    return LOCAL_IMAGE


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def runtime_name(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        request.getfixturevalue("function_image")
    return str(request.param)


@pytest.fixture
def settings(tmp_path: Path, runtime_name: str) -> Settings:
    return Settings(store=tmp_path / "store", account_id=ACCOUNT, runtime=runtime_name)


@pytest.fixture
def runtime(settings: Settings, request: pytest.FixtureRequest) -> ContainerRuntime:
    if settings.runtime == "docker":
        from mlops.runtimes.docker_runtime import DockerRuntime

        return DockerRuntime(settings, request.getfixturevalue("docker_engine"))
    return ProcessRuntime(settings)


@pytest.fixture
def open_functions(
    settings: Settings, runtime: ContainerRuntime
) -> Iterator[Callable[..., Functions]]:
    """Open a manager over the state folder; all are closed at the end."""
    opened: list[FunctionManager] = []
    settings.store.mkdir(parents=True)
    objects = FileObjectStore(settings.store / "objects")
    state = SqliteStateStore(settings.store / "state.db")

    def open_one(
        gateway_url: Callable[[], str] = lambda: "http://127.0.0.1:9", **more: Any
    ) -> Functions:
        manager = FunctionManager(
            objects, state, runtime, SystemClock(), settings, gateway_url, **more
        )
        opened.append(manager)
        return Functions(manager, settings, runtime)

    yield open_one
    for manager in opened:
        manager.close()
    state.close()


@pytest.fixture
def functions(open_functions: Callable[..., Functions]) -> Functions:
    return open_functions()


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with GatewayThread(compose_gateway(settings)) as address:
        yield address


@pytest.fixture
def aws(url: str) -> Callable[..., Any]:
    """``aws("lambda")``: a boto3 client whose every answer is held to the output shape."""
    session = boto3.Session("any", "thing", region_name="us-east-1")

    def make(service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1}, read_timeout=30)
        made = session.client(service, endpoint_url=url, config=config)
        made.meta.events.register("after-call", check_answer)
        return made

    return make


def check_answer(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    if http_response.status_code >= 300 or model.output_shape is None:
        return
    content = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    report = ParamValidator().validate(content, model.output_shape)
    assert not report.has_errors(), f"{model.name}: {report.generate_report()}"
