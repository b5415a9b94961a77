"""kill -9 of the process that drives an execution: nothing stays Executing or behind."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.ports import ExecutionStatus, JsonObject, StepStatus
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings

from ...unit.execution.house import processing
from .conftest import PYTHON_IMAGE, open_house

PROGRAM = Path(__file__).with_name("killed_gateway.py")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def definition(seconds: str) -> str:
    """Two steps of short commands: nothing of theirs is in S3."""
    steps = [
        processing("Done", AppSpecification=command("echo", "done")),
        processing("Runs", AppSpecification=command("sleep", seconds), DependsOn=["Done"]),
    ]
    return json.dumps({"Version": "2020-12-01", "Steps": steps})


def command(*words: str) -> JsonObject:
    return {"ImageUri": PYTHON_IMAGE, "ContainerEntrypoint": list(words)}


@pytest.mark.parametrize("moment", ["at once", "while its job runs"])
def test_what_a_killed_gateway_left_is_ended_and_recorded(tmp_path: Path, moment: str) -> None:
    store = tmp_path / ".mlops"
    seconds = str(random.randint(10**6, 10**7))  # tells this test's job from every other process
    gateway = subprocess.Popen(
        [sys.executable, str(PROGRAM), str(store), definition(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert gateway.stdout is not None
    with gateway.stdout:
        arn = gateway.stdout.readline().strip()
    if moment == "while its job runs":
        wait_until(lambda: f"sleep {seconds}" in running(seconds))
    gateway.kill()
    gateway.wait()

    settings = replace(Settings(), store=store)
    for house in open_house(settings, ProcessRuntime(settings)):
        (recovered,) = house.manager.recover()
        assert recovered.arn == arn
        assert recovered.status is ExecutionStatus.FAILED
        assert "The gateway ended while this ran" in (recovered.failure_reason or "")
        steps = house.steps(recovered)
        assert all(step.status.ended for step in steps.values())
        if moment == "while its job runs":
            assert steps["Done"].status is StepStatus.SUCCEEDED
            assert steps["Runs"].status is StepStatus.FAILED
        # Nothing of the dead gateway is left, and the house is as good as new.
        wait_until(lambda: not running(seconds))
        again = house.run(processing("Done", AppSpecification=command("echo", "again")))
        assert again.status is ExecutionStatus.SUCCEEDED


def running(word: str) -> list[str]:
    """The command lines in which a word occurs, of all processes but this one."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit() and int(each.name) != os.getpid():
            with suppress(OSError):  # it has just ended
                line = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                if word in line:
                    found.append(line)
    return found
