"""Executions whose jobs are real processes, and containers where an engine answers."""

from __future__ import annotations

import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops.clock import SystemClock
from mlops.execution import ExecutionManager
from mlops.ports import ContainerRuntime, JsonObject
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import ImageMapping, Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore

from ...unit.execution.house import (
    ACCOUNT,
    BUCKET,
    REGION,
    House,
    RecordingRegistry,
    channel,
    processing,
    processing_input,
    training,
)

PYTHON_IMAGE = "python:3.11-slim"


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A house around each runtime that runs on this machine."""
    settings = replace(Settings(), store=tmp_path / ".mlops", region=REGION, account_id=ACCOUNT)
    runtime: ContainerRuntime
    if request.param == "docker":
        from mlops.runtimes.docker_runtime import DockerRuntime

        mapping = ImageMapping(PYTHON_IMAGE, request.getfixturevalue("base_image"))
        settings = replace(settings, images=(mapping,))
        runtime = DockerRuntime(settings, request.getfixturevalue("docker_engine"))
    else:
        runtime = ProcessRuntime(settings)
    yield from open_house(settings, runtime)


def open_house(settings: Settings, runtime: ContainerRuntime) -> Iterator[House]:
    objects = FileObjectStore(settings.store / "objects")
    objects.create_bucket(BUCKET)
    state = SqliteStateStore(settings.store / "state.db")
    registry = RecordingRegistry()
    manager = ExecutionManager(
        objects, state, runtime, registry, SystemClock(), settings, lambda: "http://127.0.0.1:9"
    )
    yield House(settings, objects, state, runtime, registry, manager)
    manager.close()


HEAD = 'import os, pathlib\nml = pathlib.Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))\n'


def _upload(house: House, source: str) -> str:
    """Put a script into S3; `ml` is its ``/opt/ml``."""
    return house.put(f"code-{uuid.uuid4().hex}/main.py", HEAD + textwrap.dedent(source))


def process(house: House, source: str, name: str = "Process", **changes: Any) -> JsonObject:
    """A Processing step that runs a script, handed over as the SDK's processors do it."""
    code = processing_input(_upload(house, source), "code")
    entrypoint = ["python3", "/opt/ml/processing/input/code/main.py"]
    changes["ProcessingInputs"] = [*changes.get("ProcessingInputs", ()), code]
    changes["AppSpecification"] = {"ImageUri": PYTHON_IMAGE, "ContainerEntrypoint": entrypoint}
    return processing(name, **changes)


def train(house: House, source: str, **changes: Any) -> JsonObject:
    """A Training step that runs a script, handed over in a channel as SDK v3 does it."""
    code = channel("code", _upload(house, source))
    changes["InputDataConfig"] = [*changes.get("InputDataConfig", ()), code]
    changes["AlgorithmSpecification"] = {
        "TrainingImage": PYTHON_IMAGE,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["python3", "/opt/ml/input/data/code/main.py"],
        **changes.get("AlgorithmSpecification", {}),
    }
    return training(**changes)
