"""kill -9 of the gateway: an idle worker ends by itself, a busy one at the next start."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from mlops.functions import FunctionManager
from mlops.settings import Settings

from .conftest import zipped
from .killed_gateway import manager_of, runtime_of

PROGRAM = Path(__file__).with_name("killed_gateway.py")
CODE = """
import time
def handler(event, context): time.sleep(event.get("sleep", 0))
"""


def running(manager: FunctionManager, settings: Settings) -> list[str]:
    found = runtime_of(settings).find_servers({"mlops.functions-of": str(settings.store)})
    return sorted(server.name.split("-")[1] for server in found if server.poll() is None)


def test_workers_of_a_killed_gateway_end(
    tmp_path: Path, settings: Settings, runtime_name: str
) -> None:
    settings.store.mkdir()
    code = tmp_path / "code.zip"
    code.write_bytes(zipped(CODE))
    gateway = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(settings.store), runtime_name, str(code)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert gateway.stdout is not None
    with gateway.stdout:
        assert gateway.stdout.readline() == "running\n"
    gateway.kill()
    gateway.wait()

    manager = manager_of(Settings(store=settings.store, runtime=runtime_name))
    deadline = time.monotonic() + 10
    while running(manager, settings) != ["busy"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(manager, settings) == ["busy"]
    manager.recover()
    deadline = time.monotonic() + 10
    while running(manager, settings) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(manager, settings) == []
    assert not list((settings.store / "functions").glob("*/workers/*"))
    assert manager.get_function("idle")["Configuration"]["State"] == "Active"
    manager.invoke({"FunctionName": "idle"})  # a new worker
    manager.close()
