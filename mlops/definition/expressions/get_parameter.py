"""``{"Get": "Parameters.X"}``"""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.declarations import Declarations
from mlops.definition.expressions.base import Expression, ExpressionReader, Reference
from mlops.definition.location import Location
from mlops.definition.problems import suggestion
from mlops.definition.scope import JsonValue, Scope
from mlops.errors import ResolveError


@dataclass(frozen=True, slots=True, kw_only=True)
class GetParameter(Reference):
    """A pipeline parameter; its value keeps the declared type."""

    name: str

    def check(self, declared: Declarations) -> str | None:
        if self.name in declared.parameters:
            return None
        return f"There is no parameter {self.name!r}" + suggestion(self.name, declared.parameters)

    def resolve(self, scope: Scope) -> JsonValue:
        try:
            return scope.parameters[self.name]
        except KeyError:
            raise ResolveError(
                f"The parameter {self.name} has no value",
                where=str(self.location),
                next_step="bind the definition's parameters before resolving",
            ) from None


def read_parameter(name: str, location: Location, reader: ExpressionReader) -> Expression:
    return reader.refer(GetParameter(name=name, location=location))
