"""Everything that a definition declares, for checking the references in it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from mlops.definition.problems import suggestion
from mlops.definition.property_path import Segment


class StepFace(Protocol):
    """What a step says of itself to those that refer to it."""

    def refuse_dependents(self) -> str | None:
        """Why no step can wait for this one, or None where one can."""
        ...

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        """Why this step will never have the property, or None where it may."""
        ...


class Declarations:
    """The parameters and the steps, nested ones included, by their names."""

    def __init__(self, parameters: Collection[str], steps: Mapping[str, StepFace]) -> None:
        self.parameters = parameters
        self._steps = steps
        self._refused: dict[str, str | None] = {}

    def refuse_step(self, name: str) -> str | None:
        """Why no step can wait for the step of this name."""
        if name not in self._refused:
            self._refused[name] = self._refuse_step(name)
        return self._refused[name]

    def _refuse_step(self, name: str) -> str | None:
        step = self._steps.get(name)
        if step is None:
            return f"There is no step {name!r}" + suggestion(name, self._steps)
        return step.refuse_dependents()

    def refuse_property(self, name: str, path: Sequence[Segment]) -> str | None:
        """Why the step of this name cannot offer a property."""
        return self._steps[name].refuse_property(path)
