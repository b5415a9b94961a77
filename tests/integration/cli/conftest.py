"""The command as a person runs it: a process of its own, a state folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
COMMAND = str(Path(sys.executable).with_name("mlops"))


@dataclass
class Shell:
    """Runs `mlops` in a folder, with a state folder that no other test has."""

    folder: Path
    store: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if name[:6] != "MLOPS_"},
            "MLOPS_STORE": str(self.store),
            "MLOPS_RUNTIME": "process",
            "COLUMNS": "140",
            **self.variables,
        }

    def __call__(
        self, *arguments: object, code: int = 0, timeout: float = 120, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the command; it has to end with `code`, and never in a traceback."""
        done = subprocess.run(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            **options,
        )
        shown = f"{done.stdout}\n{done.stderr}"
        assert done.returncode == code, shown
        assert "Traceback (most recent call last)" not in done.stderr, shown
        assert "a fault in mlops itself" not in done.stderr, shown
        return done

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        """Start the command and leave it running."""
        return subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def json(self, *arguments: object) -> Any:
        return json.loads(self(*arguments).stdout)

    def definition(self, *steps: dict[str, Any], name: str = "pipeline", **more: Any) -> Path:
        """Write a definition JSON: a target that starts in half a second, as no SDK compiles it."""
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps({"Version": "2020-12-01", "Steps": steps, **more}))
        return file

    def gateway_pid(self) -> int:
        return int(json.loads((self.store / "gateway.json").read_text())["pid"])


def script(name: str, code: str, *, after: str | None = None) -> dict[str, Any]:
    """A processing step that runs Python `code`; it has no inputs and no outputs."""
    return {
        "Name": name,
        "Type": "Processing",
        "Arguments": {
            "AppSpecification": {
                "ImageUri": "python:3.11-slim",
                # On one line: no argument of a container may have a line end.
                "ContainerEntrypoint": ["python3", "-u", "-c", f"exec({code!r})"],
            },
            "ProcessingResources": {
                "ClusterConfig": {
                    "InstanceCount": 1,
                    "InstanceType": "ml.m5.large",
                    "VolumeSizeInGB": 1,
                }
            },
            "RoleArn": "arn:aws:iam::000000000000:role/r",
        },
        **({"DependsOn": [after]} if after else {}),
    }


SLEEP = "import time; print('asleep'); time.sleep(60)"


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read what the process says until `words` come."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came:\n{seen}")


def wait_until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def open_shell(folder: Path, store: Path) -> Iterator[Shell]:
    shell = Shell(folder, store)
    yield shell
    shell.variables.clear()
    for endpoint in shell.json("endpoints", "list", "--json") if store.exists() else []:
        shell("endpoints", "delete", endpoint["EndpointName"])
    shell("down")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    yield from open_shell(folder, tmp_path / "store")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A shell in the repository; its tests share a state folder."""
    yield from open_shell(REPOSITORY, tmp_path_factory.mktemp("lab") / "store")
