"""Starts an execution, or takes up one that is there, in a process that the test kills."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from mlops.clock import SystemClock
from mlops.execution import ExecutionManager
from mlops.ports import ContainerRuntime, JsonObject, PipelineRecord
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import ImageMapping, Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore


class NoRegistry:
    def register(self, request: JsonObject) -> JsonObject:
        raise AssertionError

    def create_model(self, request: JsonObject) -> JsonObject:
        raise AssertionError


def runtime_of(kind: str, settings: Settings) -> ContainerRuntime:
    if kind == "docker":
        from mlops.runtimes.docker_runtime import DockerRuntime

        return DockerRuntime(settings)
    return ProcessRuntime(settings)


def main(kind: str, store: Path, definition: str) -> None:
    mapping = ImageMapping("python:*", "mlops-test-base:local")
    settings = replace(Settings(), store=store, images=(mapping,))
    state = SqliteStateStore(store / "state.db")
    objects = FileObjectStore(store / "objects")
    manager = ExecutionManager(
        objects,
        state,
        runtime_of(kind, settings),
        NoRegistry(),
        SystemClock(),
        settings,
        lambda: "http://127.0.0.1:9",
    )
    for execution in manager.recover():
        print(execution.arn, flush=True)
        time.sleep(60)
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
    # The same token each time: where all has ended meanwhile, none is begun anew.
    print(manager.start(pipeline, client_request_token="one-execution").arn, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
