"""A gateway in a thread, with fake containers, for the real SDK and the real boto3."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.app import compose_gateway
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime, Script
from mlops.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
EVALUATION = {"regression_metrics": {"mse": {"value": 0.0123}}}


@pytest.fixture
def jobs() -> dict[str, Script]:
    """What the lab's three jobs leave behind, without their work; a test may change it."""
    outputs = "/opt/ml/processing/output"
    names = ("train", "validation", "test", "holdout", "preprocessing")
    return {
        "*-ETL-*": Script(files={f"{outputs}/{name}/{name}": name for name in names}),
        "*-Train-*": Script(files={"/opt/ml/model/weights": "1"}, log="val_loss 0.0112\n"),
        "*-Evaluate-*": Script(
            files={f"{outputs}/evaluation/evaluation.json": json.dumps(EVALUATION)}
        ),
        "*": Script(),
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", dataset=ROOT / "local_data/diamonds/dataset.json")


@pytest.fixture
def runtime(jobs: dict[str, Script]) -> FakeRuntime:
    return FakeRuntime(jobs)


@pytest.fixture
def gateway_url(settings: Settings, runtime: FakeRuntime) -> Iterator[str]:
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        yield url
