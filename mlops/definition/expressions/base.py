"""What every expression is, and how one is read from JSON.

A value in a definition is plain JSON in which some objects are functions: an object with the one
key ``Get``, or with a key that begins with ``Std:``. Each function lives in a file of its own and
is entered in the registry of this package.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from mlops.definition.declarations import Declarations
from mlops.definition.location import ROOT, Location
from mlops.definition.problems import Problems
from mlops.definition.scope import JsonValue, Scope


class Expression(ABC):
    """A value that is known once its scope is."""

    __slots__ = ()

    @abstractmethod
    def resolve(self, scope: Scope) -> JsonValue:
        """The value; the caller may change it.

        Raises:
            ResolveError: a part of it has no value; says which and what to do.
            StoreError: a file that it reads is not there.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference(Expression):
    """An expression that names something: it can be wrong before anything runs."""

    location: Location = field(default=ROOT, compare=False, repr=False)

    @property
    def step_name(self) -> str | None:
        """The step that must have succeeded before this has a value."""
        return None

    @abstractmethod
    def check(self, declared: Declarations) -> str | None:
        """What is wrong with the name, given all that the definition declares."""


FunctionReader: TypeAlias = Callable[[Any, Location, "ExpressionReader"], Expression]
"""Reads the value behind a function's key, which stands at the location."""


class ExpressionReader:
    """Reads the expressions of one step, and remembers the references in them."""

    def __init__(self, functions: Mapping[str, FunctionReader], problems: Problems) -> None:
        self._functions = functions
        self.problems = problems
        self.references: list[Reference] = []

    def read(self, value: JsonValue, location: Location) -> Expression:
        """Read any JSON value. What is wrong in it goes to ``problems``."""
        if type(value) is dict:
            return self._read_object(value, location)
        if type(value) is list:
            items = [self.read(item, location.child(index)) for index, item in enumerate(value)]
            constant = all(type(item) is Literal for item in items)
            return Literal(value) if constant else ListExpression(tuple(items))
        return Literal(value)

    def refer(self, reference: Reference) -> Reference:
        """Remember a reference, to be checked once everything is declared."""
        self.references.append(reference)
        return reference

    def refuse(self, location: Location, message: str) -> Expression:
        """Record a problem; the answer only fills the hole, as nothing will run."""
        self.problems.add(location, message)
        return Literal(None)

    def _read_object(self, value: dict[str, JsonValue], location: Location) -> Expression:
        function = next((key for key in value if _names_function(key, value)), None)
        if function is not None:
            return self._read_function(function, value, location)
        members = {key: self.read(item, location.child(key)) for key, item in value.items()}
        if all(type(item) is Literal for item in members.values()):
            return Literal(value)
        return ObjectExpression(members)

    def _read_function(
        self, name: str, value: dict[str, JsonValue], location: Location
    ) -> Expression:
        if len(value) > 1:
            others = ", ".join(repr(key) for key in value if key != name)
            return self.refuse(
                location, f"{name} must be the only key of its object, which also has {others}"
            )
        read = self._functions.get(name)
        if read is None:
            known = ", ".join(sorted(self._functions))
            return self.refuse(
                location, f"There is no function {name!r}; the functions are: {known}"
            )
        return read(value[name], location.child(name), self)


def _names_function(key: str, value: dict[str, JsonValue]) -> bool:
    # An object of several keys with "Get" among them is data: an environment variable may be
    # called so. No shape of the service has a key with "Std:".
    return key.startswith("Std:") or (key == "Get" and len(value) == 1)


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """JSON in which nothing is left to resolve."""

    value: JsonValue

    def resolve(self, scope: Scope) -> JsonValue:
        return _copy(self.value)


@dataclass(frozen=True, slots=True)
class ListExpression(Expression):
    items: tuple[Expression, ...]

    def resolve(self, scope: Scope) -> JsonValue:
        return [item.resolve(scope) for item in self.items]


@dataclass(frozen=True, slots=True)
class ObjectExpression(Expression):
    members: Mapping[str, Expression]

    def resolve(self, scope: Scope) -> JsonValue:
        return {key: item.resolve(scope) for key, item in self.members.items()}


def _copy(value: JsonValue) -> JsonValue:
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    if type(value) is list:
        return [_copy(item) for item in value]
    return value
