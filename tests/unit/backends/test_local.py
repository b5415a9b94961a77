"""What the local backend sends to the gateway; a fake one answers."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mlops.assets import Asset
from mlops.authoring import CompiledPipeline
from mlops.backends import CloudBackend, LocalBackend
from mlops.backends.base import StartOptions
from mlops.backends.local import needed_assets
from mlops.errors import DefinitionError, ParameterError, ServiceError, UsageError
from mlops.settings import Settings

DEFINITION = json.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": "Data", "Type": "String", "DefaultValue": "s3://data/raw.csv"},
            {"Name": "Bucket", "Type": "String", "DefaultValue": "data"},
            {"Name": "Count", "Type": "Integer", "DefaultValue": 1},
        ],
        "Steps": [{"Name": "Fail", "Type": "Fail", "Arguments": {"ErrorMessage": "no"}}],
    }
)
RAW = Asset("data", "raw.csv", b"1")
CODE = Asset("code", "train.py", b"2")
PIPELINE = CompiledPipeline("Mine", DEFINITION, (RAW, CODE))


class FakeGateway:
    """Answers as the service does, and keeps what it was asked."""

    url = "http://127.0.0.1:9"

    def __init__(self, *, exists: bool = False) -> None:
        self.exists = exists
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.headers: dict[str, str] = {}

    def call(
        self, operation: str, request: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        self.calls.append((operation, request))
        self.headers = dict(headers or {})
        if operation == "CreatePipeline" and self.exists:
            message = "Pipeline with name (Mine) already exists."
            raise ServiceError("ValidationException", message)
        if operation == "StartPipelineExecution":
            return {"PipelineExecutionArn": "arn:execution"}
        return {"PipelineArn": "arn:pipeline"}


class WithoutS3(LocalBackend):
    """The uploads are another test's matter (tests/integration/sdk)."""

    def _upload(self, gateway: Any, assets: Any) -> None:
        self.uploaded = assets


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store")


def test_create_and_start(settings: Settings) -> None:
    gateway = FakeGateway()
    backend = WithoutS3(settings, lambda: gateway)
    options = StartOptions(max_parallel_steps=2, display_name="first", tags={"team": "a"})
    assert backend.submit(PIPELINE, {"Count": "3"}, options) == "arn:execution"
    (create, created), (start, started) = gateway.calls
    assert (create, start) == ("CreatePipeline", "StartPipelineExecution")
    assert created["PipelineDefinition"] == DEFINITION
    assert created["RoleArn"] == "arn:aws:iam::000000000000:role/mlops-execution"
    assert created["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 2}
    assert created["Tags"] == [{"Key": "team", "Value": "a"}]
    assert started["PipelineParameters"] == [{"Name": "Count", "Value": "3"}]
    assert started["PipelineExecutionDisplayName"] == "first"
    assert backend.uploaded == [RAW, CODE]


def test_an_existing_pipeline_is_updated_and_tagged(settings: Settings) -> None:
    gateway = FakeGateway(exists=True)
    WithoutS3(settings, lambda: gateway).submit(PIPELINE, {}, StartOptions(tags={"team": "a"}))
    operations = [operation for operation, _ in gateway.calls]
    expected = ["CreatePipeline", "UpdatePipeline", "AddTags", "StartPipelineExecution"]
    assert operations == expected


def test_another_refusal_passes(settings: Settings) -> None:
    class Refusing(FakeGateway):
        def call(
            self, operation: str, request: dict[str, Any], headers: Mapping[str, str] | None = None
        ) -> dict[str, Any]:
            raise ServiceError("ValidationException", "no")

    with pytest.raises(ServiceError, match="no"):
        WithoutS3(settings, Refusing).submit(PIPELINE, {})


@pytest.mark.parametrize(
    ("definition", "parameters", "error"),
    [
        (DEFINITION, {"Unknown": "1"}, ParameterError),
        (DEFINITION, {"Count": "many"}, ParameterError),
        (DEFINITION, {"Count": ""}, ParameterError),
        ("{}", {}, DefinitionError),
    ],
)
def test_wrong_input_is_found_before_the_gateway_is_asked(
    settings: Settings, definition: str, parameters: dict[str, str], error: type[UsageError]
) -> None:
    def gateway() -> FakeGateway:
        raise AssertionError("not needed")

    with pytest.raises(error):
        LocalBackend(settings, gateway).submit(CompiledPipeline("Mine", definition), parameters)


def test_an_asset_that_a_parameter_replaces_is_not_needed() -> None:
    assert needed_assets(PIPELINE, {"Data": "s3://elsewhere/raw.csv"}) == [CODE]


def test_assets_are_needed_in_the_bucket_that_a_parameter_names_too() -> None:
    moved = Asset("elsewhere", "raw.csv", b"1")
    assert needed_assets(PIPELINE, {"Bucket": "elsewhere"}) == [RAW, CODE, moved]


def test_describe_and_stop(settings: Settings) -> None:
    gateway = FakeGateway()
    backend = LocalBackend(settings, lambda: gateway)
    backend.describe("arn:execution")
    backend.stop("arn:execution")
    (_, described), (operation, stopped) = gateway.calls
    assert described == {"PipelineExecutionArn": "arn:execution"}
    assert operation == "StopPipelineExecution"
    assert stopped["PipelineExecutionArn"] == "arn:execution"


def test_the_cloud_backend_says_what_works_today() -> None:
    with pytest.raises(UsageError, match="not part of this version") as error:
        CloudBackend().compile(None)
    assert "--backend local" in str(error.value.next_step)


@pytest.mark.parametrize(("mode", "headers"), [(None, {}), ("off", {"X-Mlops-Cache": "off"})])
def test_the_cache_mode_travels_beside_the_request(
    settings: Settings, mode: str | None, headers: dict[str, str]
) -> None:
    gateway = FakeGateway()
    backend = WithoutS3(settings, lambda: gateway)
    backend.submit(PIPELINE, {}, StartOptions(cache_mode=mode))
    assert gateway.headers == headers
    assert gateway.calls[0][1]["PipelineDefinition"] == DEFINITION


def test_an_interrupt_while_it_starts_stops_what_was_started(settings: Settings) -> None:
    class Interrupted(FakeGateway):
        def call(self, operation: str, *arguments: Any) -> dict[str, Any]:
            answer = super().call(operation, *arguments)
            if operation == "StartPipelineExecution":  # started, and the answer is on its way
                os.kill(os.getpid(), signal.SIGINT)
            return answer

    gateway = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        WithoutS3(settings, lambda: gateway).submit(PIPELINE, {})
    operation, request = gateway.calls[-1]
    assert operation == "StopPipelineExecution"
    assert request["PipelineExecutionArn"] == "arn:execution"
