"""A gateway in a thread whose servers are real HTTP servers without a model; clients are AWS's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator

from mlops.app import compose_gateway
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply
from mlops.settings import Settings

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-tensorflow:latest"
ROLE = "arn:aws:iam::000000000000:role/mlops-execution"


def predict(container: FakeContainer, body: bytes, headers: Any) -> Reply:
    """Counts the rows of a CSV, times FACTOR; fails on "bad"."""
    if body == b"bad":
        return Reply(b"row 1, column carat: 'bad' is no number", status=400)
    factor = int(container.job.environment.get("FACTOR", "1"))
    told = headers.get("X-Amzn-SageMaker-Custom-Attributes", "")
    return Reply(
        str(factor * len(body.splitlines())).encode(),
        headers={"Content-Type": "text/csv", "X-Amzn-SageMaker-Custom-Attributes": told},
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store")


@pytest.fixture
def server() -> FakeModelServer:
    return FakeModelServer(predict)


@pytest.fixture
def runtime(server: FakeModelServer) -> Iterator[FakeRuntime]:
    made = FakeRuntime(server)
    yield made
    made.remove_leftovers({})


@pytest.fixture
def url(settings: Settings, runtime: FakeRuntime) -> Iterator[str]:
    with GatewayThread(compose_gateway(settings, runtime)) as address:
        yield address


@pytest.fixture
def aws(url: str) -> Callable[..., Any]:
    """``aws("sagemaker")``: a boto3 client whose every answer is held to the output shape."""
    session = boto3.Session("any", "thing", region_name="us-east-1")

    def make(service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1})
        made = session.client(service, endpoint_url=url, config=config)
        made.meta.events.register("after-call", check_answer)
        return made

    return make


def check_answer(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Fail on an answer that lacks what the service model requires, or has a wrong type in it."""
    if http_response.status_code >= 300 or model.output_shape is None:
        return
    if model.has_event_stream_output:  # what is still to come cannot be held to anything
        return
    content = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    report = ParamValidator().validate(content, model.output_shape)
    assert not report.has_errors(), f"{model.name}: {report.generate_report()}"


class Account:
    """The clients, and short ways to make what an endpoint stands on."""

    def __init__(self, aws: Callable[..., Any]) -> None:
        self.sagemaker = aws("sagemaker")
        self.runtime = aws("sagemaker-runtime")
        self.s3 = aws("s3")
        self.logs = aws("logs")

    def model(self, name: str = "m", **container: Any) -> str:
        self.sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={"Image": IMAGE, **container},
            ExecutionRoleArn=ROLE,
        )
        return name

    def config(self, name: str = "c", model: str = "m", **variant: Any) -> str:
        instances = {"InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": model,
                    **({} if "ServerlessConfig" in variant else instances),
                    **variant,
                }
            ],
        )
        return name

    def endpoint(self, name: str = "e", config: str = "c") -> dict[str, Any]:
        """Create an endpoint and wait for it with boto3's own waiter."""
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        return self.in_service(name)

    def in_service(self, name: str = "e") -> dict[str, Any]:
        waiter = self.sagemaker.get_waiter("endpoint_in_service")
        waiter.wait(EndpointName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 1500})
        return self.describe(name)

    def describe(self, name: str = "e") -> dict[str, Any]:
        found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
        return found

    def status(self, name: str = "e", wanted: str = "Failed") -> dict[str, Any]:
        deadline = time.monotonic() + 30
        while (found := self.describe(name))["EndpointStatus"] != wanted:
            assert time.monotonic() < deadline, f"{found['EndpointStatus']}, not {wanted}"
            time.sleep(0.01)
        return found

    def invoke(self, body: bytes | str = b"1,2", name: str = "e", **more: Any) -> dict[str, Any]:
        more.setdefault("ContentType", "text/csv")
        answer: dict[str, Any] = self.runtime.invoke_endpoint(EndpointName=name, Body=body, **more)
        return answer | {"Body": answer["Body"].read()}


@pytest.fixture
def account(aws: Callable[..., Any]) -> Account:
    return Account(aws)
