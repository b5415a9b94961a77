"""TARGET, the word that names a pipeline on the command line, and what it can mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlops.errors import TargetError

LAB = "mlops.pipeline:build_pipeline"

FORMS = "TARGET is module:function, a Python file (FILE.py or FILE.py:NAME), or a definition JSON"

_NAMES = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True, slots=True)
class LabTarget:
    """The lab's own pipeline."""


@dataclass(frozen=True, slots=True)
class ModuleTarget:
    """An attribute of an importable module; the working folder is importable too."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


@dataclass(frozen=True, slots=True)
class FileTarget:
    """An attribute of a Python file, or whatever pipeline is found in it."""

    file: Path
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.name}" if self.name else str(self.file)


@dataclass(frozen=True, slots=True)
class DefinitionTarget:
    """A file that holds a definition's JSON."""

    file: Path

    def __str__(self) -> str:
        return str(self.file)


Target: TypeAlias = LabTarget | ModuleTarget | FileTarget | DefinitionTarget


def parse_target(text: str | None, folder: Path) -> Target:
    """Say what `text` names; relative paths count from `folder`.

    Raises:
        TargetError: a form that TARGET does not have, or a file that is not there.
    """
    if text is None or text == LAB:
        return LabTarget()
    path, colon, name = text.rpartition(":")
    if colon and path.endswith(".py"):
        return FileTarget(_existing(folder / path, text), _checked_name(name, text))
    if text.endswith(".py"):
        return FileTarget(_existing(folder / text, text))
    if text.endswith(".json"):
        return DefinitionTarget(_existing(folder / text, text))
    if colon and _NAMES.fullmatch(path):
        return ModuleTarget(path, _checked_name(name, text))
    raise TargetError(f"TARGET {text!r} names nothing that gives a pipeline", next_step=FORMS)


def _existing(file: Path, text: str) -> Path:
    if file.is_file():
        return file
    problem = "is a folder" if file.is_dir() else "does not exist"
    raise TargetError(
        f"TARGET {text!r}: the file {problem}",
        where=str(file),
        next_step="correct the path; it counts from the working folder",
    )


def _checked_name(name: str, text: str) -> str:
    if _NAMES.fullmatch(name):
        return name
    raise TargetError(
        f"TARGET {text!r}: {name!r} is no name of a function",
        next_step="give the function's name after the colon: pipeline.py:get_pipeline",
    )
