"""Starts two workers, one of them busy for long, in a process that the test kills."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from mlops.clock import SystemClock
from mlops.functions import FunctionManager
from mlops.ports import ContainerRuntime
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore


def runtime_of(settings: Settings) -> ContainerRuntime:
    if settings.runtime == "docker":
        from mlops.runtimes.docker_runtime import DockerRuntime

        return DockerRuntime(settings)
    return ProcessRuntime(settings)


def manager_of(settings: Settings) -> FunctionManager:
    return FunctionManager(
        FileObjectStore(settings.store / "objects"),
        SqliteStateStore(settings.store / "state.db"),
        runtime_of(settings),
        SystemClock(),
        settings,
        lambda: "http://127.0.0.1:9",
    )


def main(store: Path, runtime: str, code: Path) -> None:
    manager = manager_of(Settings(store=store, runtime=runtime))
    request = {
        "Role": "arn:aws:iam::000000000000:role/x",
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Code": {"ZipFile": code.read_bytes()},
        "Timeout": 600,
    }
    for name in ("idle", "busy"):
        manager.create_function({"FunctionName": name, **request})
        manager.invoke({"FunctionName": name})
    busy = {"FunctionName": "busy", "Payload": b'{"sleep": 500}'}
    threading.Thread(target=manager.invoke, args=(busy,), daemon=True).start()
    time.sleep(0.3)
    print("running", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
