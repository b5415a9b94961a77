"""EndpointConfig and Endpoint steps, as SDK v2 writes them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops.runtimes.fake import FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer

from .conftest import ROLE, Account, predict

DEFINITIONS = Path(__file__).resolve().parents[2] / "data/definitions"
ACCOUNT_ARN = "arn:aws:sagemaker:us-east-1:000000000000"


@pytest.fixture
def definition(account: Account) -> str:
    """Model → EndpointConfig → Endpoint → a condition on its status."""
    text = (DEFINITIONS / "v2_deploy.json").read_text()
    document = json.loads(text)
    model = document["Steps"][0]["Arguments"]["PrimaryContainer"]
    del model["ModelDataUrl"]  # there is no model behind these servers
    return json.dumps(document)


Run = Callable[..., tuple[dict[str, Any], dict[str, dict[str, Any]]]]


@pytest.fixture
def start(account: Account, definition: str) -> Callable[..., str]:
    def started(**request: Any) -> str:
        account.sagemaker.create_pipeline(
            PipelineName="deploy", PipelineDefinition=definition, RoleArn=ROLE
        )
        arn: str = account.sagemaker.start_pipeline_execution(PipelineName="deploy", **request)[
            "PipelineExecutionArn"
        ]
        return arn

    return started


@pytest.fixture
def run(account: Account, start: Callable[..., str]) -> Run:
    """Start the pipeline and wait for its end: the execution, and its steps by name."""

    def ran(**request: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        return ended(account, start(**request))

    return ran


def ended(account: Account, arn: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    deadline = time.monotonic() + 30
    while True:
        execution = account.sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
        if execution["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    steps = account.sagemaker.list_pipeline_execution_steps(PipelineExecutionArn=arn)
    return execution, {step["StepName"]: step for step in steps["PipelineExecutionSteps"]}


def endpoints(account: Account) -> list[str]:
    return [row["EndpointName"] for row in account.sagemaker.list_endpoints()["Endpoints"]]


def test_a_pipeline_deploys_under_a_name_of_its_own(run: Run, account: Account) -> None:
    execution, steps = run()
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    (name,) = endpoints(account)
    assert name.startswith("dev-")
    assert steps["Deploy"]["Metadata"] == {"Endpoint": {"Arn": f"{ACCOUNT_ARN}:endpoint/{name}"}}
    config = steps["Configure"]["Metadata"]["EndpointConfig"]["Arn"]
    assert config.startswith(f"{ACCOUNT_ARN}:endpoint-config/dev-config-")
    assert steps["Check"]["Metadata"] == {"Condition": {"Outcome": "True"}}
    assert account.invoke(name=name)["Body"] == b"1"


def test_it_updates_the_endpoint_that_has_its_plain_name(run: Run, account: Account) -> None:
    account.model("first", Environment={"FACTOR": "9"})
    account.config("c", "first")
    account.endpoint("dev")
    execution, steps = run()
    assert execution["PipelineExecutionStatus"] == "Succeeded", steps
    assert endpoints(account) == ["dev"]
    assert account.invoke(name="dev")["Body"] == b"1"


def test_parameters_reach_the_configuration(run: Run, account: Account) -> None:
    run(PipelineParameters=[{"Name": "InstanceCount", "Value": "2"}])
    (name,) = endpoints(account)
    (variant,) = account.describe(name)["ProductionVariants"]
    assert variant["CurrentInstanceCount"] == 2


class TestWhatFails:
    @pytest.fixture
    def server(self) -> Any:
        return lambda container: container.print("no model here") or 1

    def test_a_server_that_does_not_start_fails_the_step(self, run: Run, account: Account) -> None:
        execution, steps = run()
        assert execution["PipelineExecutionStatus"] == "Failed"
        assert steps["Deploy"]["StepStatus"] == "Failed"
        reason = steps["Deploy"]["FailureReason"]
        assert reason.startswith("ClientError: Endpoint dev-")
        assert "did not pass the ping health check" in reason
        assert "no model here" in reason
        assert steps["Deploy"]["Metadata"]["Endpoint"]["Arn"].endswith(endpoints(account)[0])


class TestWhatIsStopped:
    @pytest.fixture
    def server(self) -> FakeModelServer:
        return FakeModelServer(predict, ready=threading.Event())

    def test_a_stop_leaves_no_endpoint(
        self, start: Callable[..., str], account: Account, runtime: FakeRuntime
    ) -> None:
        arn = start()
        deadline = time.monotonic() + 20
        while not endpoints(account):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        account.sagemaker.stop_pipeline_execution(
            PipelineExecutionArn=arn, ClientRequestToken="t" * 32
        )
        execution, steps = ended(account, arn)
        assert execution["PipelineExecutionStatus"] == "Stopped"
        assert steps["Deploy"]["StepStatus"] == "Stopped"
        assert endpoints(account) == []
        assert runtime.find_servers({}) == []
