"""Ctrl-C, SIGTERM, a reader that leaves: what runs is stopped, recorded, and nothing stays."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import SLEEP, Shell, read_until, script, wait_until


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    process.send_signal(number)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    return rest


def states(shell: Shell) -> list[str]:
    return [found["status"] for found in shell.json("executions", "list", "--json")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_runs_is_stopped_and_recorded(shell: Shell, number: int) -> None:
    document = shell.folder / "run.json"
    file = shell.definition(script("Sleep", SLEEP))
    process = shell.start("run", file, "--json", document)
    read_until(process, "asleep")
    assert "status    ■ Stopped" in interrupt(process, number)
    assert states(shell) == ["Stopped"]
    assert shell.json("status", "--json")["executions"] == []
    assert '"status": "Stopped"' in document.read_text()


def test_a_second_one_leaves_it_stopping(shell: Shell) -> None:
    stubborn = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(2), sys.exit(1)))\n" + SLEEP
    )
    process = shell.start("run", shell.definition(script("Sleep", stubborn)))
    read_until(process, "asleep")
    process.send_signal(signal.SIGINT)
    read_until(process, "interrupted: stopping")
    assert "error: interrupted" in interrupt(process)
    wait_until(lambda: states(shell) == ["Stopped"])


def test_before_anything_has_started_nothing_starts(shell: Shell) -> None:
    (shell.folder / "slow.py").write_text(
        "import time\ndef get_pipeline():\n    print('compiling', flush=True)\n    time.sleep(60)\n"
    )
    process = shell.start("run", "slow.py")
    read_until(process, "compiling")
    assert "error: interrupted" in interrupt(process)
    assert states(shell) == []


def test_every_step_that_runs_is_stopped_and_none_starts(shell: Shell) -> None:
    steps = [script(name, SLEEP) for name in "ABC"] + [script("D", "", after="A")]
    process = shell.start("run", shell.definition(*steps))
    for _ in range(3):
        read_until(process, "asleep")
    interrupt(process)
    document = shell.json("executions", "show", "latest", "--json")
    assert {step["name"]: step["status"] for step in document["steps"]} == dict.fromkeys(
        "ABC", "Stopped"
    )


def test_a_reader_that_leaves_ends_the_run_it_was_reading(shell: Shell) -> None:
    chatty = "import time\nfor n in range(600): print('line', n); time.sleep(0.1)"
    process = shell.start("run", shell.definition(script("Talk", chatty)))
    read_until(process, "line 1")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    wait_until(lambda: states(shell) == ["Stopped"])


def test_a_run_goes_on_without_its_command_and_can_be_stopped(shell: Shell) -> None:
    document = shell.folder / "run.json"
    file = shell.definition(script("Sleep", SLEEP))
    shown = shell("run", file, "--detach", "--json", document).stdout
    execution = shown.split("executions show ")[1].split()[0]
    assert '"status": "Executing"' in document.read_text()
    assert '"endpoint_test": null' in document.read_text()
    assert shell.json("executions", "show", execution, "--json")["status"] == "Executing"
    [running] = shell.json("status", "--json")["executions"]
    assert running.endswith(execution)
    shell("executions", "stop", execution)
    shell("executions", "logs", execution, "--follow")
    assert states(shell) == ["Stopped"]
    assert "has ended" in shell("executions", "stop", "latest", code=2).stderr


@pytest.mark.docker
def test_containers_are_stopped_and_removed(
    shell: Shell, docker_engine: Any, base_image: str
) -> None:
    (shell.folder / "mlops.toml").write_text(
        f'[[images]]\npattern = "python:3.11-slim"\nlocal = "{base_image}"\n'
    )
    shell.variables = {"MLOPS_RUNTIME": "docker"}
    process = shell.start("run", shell.definition(script("Sleep", SLEEP)))
    read_until(process, "asleep")
    execution = shell.json("status", "--json")["executions"][0].rpartition("/")[2]
    assert names_of_containers(docker_engine, execution)
    interrupt(process)
    assert names_of_containers(docker_engine, execution) == []
    assert states(shell) == ["Stopped"]


def names_of_containers(engine: Any, execution: str) -> list[str]:
    found = engine.client.containers(all=True)
    return [name for each in found for name in each["Names"] if execution in name]


def test_two_runs_at_once_do_not_disturb_each_other(shell: Shell) -> None:
    """Two pipelines of one name, started together: each runs its own definition."""
    shell("up")
    files: list[Path] = []
    for number in range(3):
        folder = shell.folder / str(number)
        folder.mkdir()
        files.append(folder / "same.json")
        shell.definition(script("Say", f"print('detail: number {number}')")).rename(files[-1])
    processes = [shell.start("run", file) for file in files]
    for number, process in enumerate(processes):
        shown, _ = process.communicate(timeout=60)
        assert process.returncode == 0, shown
        assert f"number {number}" in shown
    assert states(shell) == ["Succeeded"] * 3
