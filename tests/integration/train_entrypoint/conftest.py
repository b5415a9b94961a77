"""A training job's folder, and `train` run on it as a container runs it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

TRAIN = Path(__file__).resolve().parents[3] / "containers" / "shared" / "bin" / "train"


@dataclass
class TrainingJob:
    base: Path
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    resources: str = '{"current_host": "a", "hosts": ["a"]}'

    def __post_init__(self) -> None:
        for name in ("input/config", "output", "source"):
            (self.base / name).mkdir(parents=True)
        self.submit(str(self.source), "train.py")

    @property
    def source(self) -> Path:
        return self.base / "source"

    def submit(self, uri: str, program: str) -> None:
        self.hyperparameters |= {"sagemaker_submit_directory": uri, "sagemaker_program": program}

    def write(self, name: str, text: str) -> None:
        file = self.source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def start(self) -> subprocess.Popen[str]:
        config = self.base / "input" / "config"
        given = {name: json.dumps(value) for name, value in self.hyperparameters.items()}
        (config / "hyperparameters.json").write_text(json.dumps(given))
        (config / "resourceconfig.json").write_text(self.resources)
        (config / "inputdataconfig.json").write_text('{"train": {}}')
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MLOPS_"))}
        return subprocess.Popen(
            [sys.executable, str(TRAIN)],
            env={**kept, "SAGEMAKER_BASE_DIR": str(self.base), **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> subprocess.CompletedProcess[str]:
        process = self.start()
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def failure(self) -> str | None:
        file = self.base / "output" / "failure"
        return file.read_text(encoding="utf-8") if file.exists() else None

    @property
    def succeeded(self) -> bool:
        return (self.base / "output" / "success").exists()


@pytest.fixture
def make_job(tmp_path: Path) -> Callable[[str], TrainingJob]:
    return lambda name: TrainingJob(tmp_path / name)


@pytest.fixture
def job(make_job: Callable[[str], TrainingJob]) -> TrainingJob:
    return make_job("ml")


def archive(*members: tuple[tarfile.TarInfo | str, str]) -> bytes:
    """A tar.gz of these members, names as they stand, however malicious."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for member, text in members:
            entry = tarfile.TarInfo(member) if isinstance(member, str) else member
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


@pytest.fixture
def make_archive() -> Any:
    return archive
