"""``{"Get": "Steps.N.<path>"}``: a property of another step.

Step names may hold ``-``, never a dot: the name ends at the first dot.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.declarations import Declarations
from mlops.definition.expressions.base import Expression, ExpressionReader, Reference
from mlops.definition.location import Location
from mlops.definition.property_path import PathError, Segment, look_up, parse_path
from mlops.definition.scope import JsonValue, Scope
from mlops.errors import ResolveError


@dataclass(frozen=True, slots=True, kw_only=True)
class GetStepProperty(Reference):
    """A value out of another step's outputs; keeps its type."""

    step: str
    path: tuple[Segment, ...]
    text: str
    """The reference as written, without ``Steps.``."""

    @property
    def step_name(self) -> str | None:
        return self.step

    def check(self, declared: Declarations) -> str | None:
        return declared.refuse_step(self.step) or declared.refuse_property(self.step, self.path)

    def resolve(self, scope: Scope) -> JsonValue:
        try:
            return look_up(scope.step_outputs(self.step), self.path)
        except PathError as error:
            raise ResolveError(
                f"Steps.{self.text} has no value: {error}",
                where=str(self.location),
                next_step=f"refer to a property that the Describe answer of {self.step} has",
            ) from None


def read_step_property(text: str, location: Location, reader: ExpressionReader) -> Expression:
    step, _, rest = text.partition(".")
    if rest == "PropertyFiles" or rest.startswith("PropertyFiles."):
        return reader.refuse(
            location, f"'Steps.{text}' is a property file: only Std:JsonGet can read it"
        )
    try:
        path = parse_path(rest)
    except PathError as error:
        return reader.refuse(location, f"'Steps.{text}' names no property of a step: {error}")
    return reader.refer(GetStepProperty(step=step, path=path, text=text, location=location))
