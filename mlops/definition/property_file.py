"""Property files: JSON files in a processing step's output that later steps read values from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlops.definition.fields import Fields
from mlops.definition.problems import suggestion

_MEMBERS = ("PropertyFileName", "OutputName", "FilePath")


@dataclass(frozen=True, slots=True)
class PropertyFile:
    """An entry of a Processing step's ``PropertyFiles``."""

    name: str
    output_name: str
    file_path: str


class PropertyFiles:
    """The property files of all steps of a definition, by step and name."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, PropertyFile]] = {}

    def declare(self, step_name: str, files: Iterable[PropertyFile]) -> None:
        self._files[step_name] = {file.name: file for file in files}

    def get(self, step_name: str, name: str) -> PropertyFile:
        return self._files[step_name][name]

    def refuse(self, step_name: str, name: str) -> str | None:
        """Why there is no such file, or None where there is."""
        files = self._files.get(step_name, {})
        if name in files:
            return None
        return f"The step {step_name!r} has no property file {name!r}" + suggestion(name, files)


def read_property_files(fields: Fields) -> tuple[PropertyFile, ...]:
    """The ``PropertyFiles`` of a step."""
    files: dict[str, PropertyFile] = {}
    for entry in fields.objects("PropertyFiles"):
        entry.only(_MEMBERS, "A property file")
        name, output, path = (
            entry.string(key) if entry.require(key, "A property file") else None for key in _MEMBERS
        )
        if name is None or output is None or path is None:
            continue
        if name in files:
            entry.refuse("PropertyFileName", f"The step has two property files {name!r}")
        files[name] = PropertyFile(name, output, path)
    return tuple(files.values())
