"""Starts an execution that sleeps, in a process that the test kills."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mlops.clock import SystemClock
from mlops.execution import ExecutionManager
from mlops.ports import JsonObject, PipelineRecord
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore


class NoRegistry:
    def register(self, request: JsonObject) -> JsonObject:
        raise AssertionError

    def create_model(self, request: JsonObject) -> JsonObject:
        raise AssertionError


def main(store: Path, definition: str) -> None:
    settings = replace(Settings(), store=store)
    state = SqliteStateStore(store / "state.db")
    objects = FileObjectStore(store / "objects")
    manager = ExecutionManager(
        objects,
        state,
        ProcessRuntime(settings),
        NoRegistry(),
        SystemClock(),
        settings,
        lambda: "http://127.0.0.1:9",
    )
    now = datetime.now(UTC)
    pipeline = PipelineRecord(
        name="p",
        arn="arn:aws:sagemaker:us-east-1:000000000000:pipeline/p",
        definition=definition,
        role_arn="arn:aws:iam::000000000000:role/r",
        created_at=now,
        last_modified_at=now,
    )
    state.put_pipeline(pipeline)
    print(manager.start(pipeline).arn, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
