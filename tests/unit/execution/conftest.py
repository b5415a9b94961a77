"""A house for each test; see ``house``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops.execution import ExecutionManager
from mlops.ports import ContainerRuntime
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore

from .house import ACCOUNT, BUCKET, REGION, SUCCEEDS, Build, House, RecordingRegistry, SystemClock


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Make a house around a runtime; all are closed at the end."""
    made: list[House] = []

    def build_house(runtime: ContainerRuntime | Any = SUCCEEDS, **changes: Any) -> House:
        if not hasattr(runtime, "start"):
            runtime = FakeRuntime(runtime)
        store = tmp_path / ".mlops"
        objects = changes.pop("objects", None) or FileObjectStore(store / "objects")
        objects.create_bucket(BUCKET)
        state = changes.pop("state", None) or SqliteStateStore(store / "state.db")
        settings = replace(Settings(), store=store, region=REGION, account_id=ACCOUNT)
        registry = RecordingRegistry()
        manager = ExecutionManager(
            objects,
            state,
            runtime,
            registry,
            SystemClock(),
            settings,
            lambda: "http://127.0.0.1:4566",
            **changes,
        )
        made.append(House(settings, objects, state, runtime, registry, manager))
        return made[-1]

    yield build_house
    for house in made:
        house.manager.close()
