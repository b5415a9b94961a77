"""Typed access to the members of a JSON object, with a problem for each that is wrong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

from mlops.definition.location import Location
from mlops.definition.problems import Problems, json_type, suggestion
from mlops.definition.scope import JsonValue

T = TypeVar("T")
Number = TypeVar("Number", int, float)


class Fields:
    """One JSON object of the definition's own grammar.

    A member that is null counts as absent: SDK v3 writes null for what is not used.
    """

    def __init__(self, value: dict[str, JsonValue], location: Location, problems: Problems) -> None:
        self._value = value
        self.location = location
        self.problems = problems

    def at(self, key: str) -> Location:
        return self.location.child(key)

    def get(self, key: str) -> JsonValue:
        return self._value.get(key)

    def has(self, key: str) -> bool:
        """Whether the member is there, null included."""
        return key in self._value

    def refuse(self, key: str, message: str) -> None:
        self.problems.add(self.at(key), message)

    def only(self, known: Collection[str], what: str) -> None:
        """Every other member is a problem: a misspelt one would silently do nothing."""
        for key in self._value:
            if key not in known:
                self.problems.add(
                    self.at(key), f"{what} has no member {key!r}" + suggestion(key, known)
                )

    def require(self, key: str, what: str) -> bool:
        """Whether the member is there; a problem when it is not."""
        if self._value.get(key) is not None:
            return True
        self.problems.add(self.location, f"{what} needs {key!r}")
        return False

    def string(self, key: str, *, longest: int | None = None) -> str | None:
        value = self._typed(key, str, "a string")
        if value is not None and longest is not None and len(value) > longest:
            self.refuse(key, f"The text is {len(value)} characters long, at most {longest} go")
        return value

    def boolean(self, key: str) -> bool | None:
        return self._typed(key, bool, "a boolean")

    def integer(self, key: str, *, least: int, most: int | None = None) -> int | None:
        value = self._typed(key, int, "an integer")
        return None if value is None else self._within(key, value, least, most)

    def number(self, key: str, *, least: float) -> float | None:
        value = self._typed(key, (int, float), "a number")
        return None if value is None else self._within(key, value, least, None)

    def object(self, key: str) -> dict[str, JsonValue] | None:
        return self._typed(key, dict, "an object")

    def objects(self, key: str) -> Sequence[Fields]:
        """A list of objects; elements that are none are problems and left out."""
        items = self._typed(key, list, "a list") or []
        found = []
        for index, item in enumerate(items):
            at = self.at(key).child(index)
            if isinstance(item, dict):
                found.append(Fields(item, at, self.problems))
            else:
                self.problems.add(at, f"This must be an object, not {json_type(item)}")
        return found

    def strings(self, key: str) -> tuple[str, ...]:
        """A list of strings; elements that are none are problems and left out."""
        items = self._typed(key, list, "a list") or []
        for index, item in enumerate(items):
            if not isinstance(item, str):
                self.problems.add(
                    self.at(key).child(index), f"This must be a string, not {json_type(item)}"
                )
        return tuple(item for item in items if isinstance(item, str))

    def strings_or_objects(self, key: str) -> Sequence[str | Fields]:
        """A list of strings and objects; elements that are neither are problems and left out."""
        items = self._typed(key, list, "a list") or []
        found: list[str | Fields] = []
        for index, item in enumerate(items):
            at = self.at(key).child(index)
            if isinstance(item, dict):
                found.append(Fields(item, at, self.problems))
            elif isinstance(item, str):
                found.append(item)
            else:
                self.problems.add(at, f"This must be a string, not {json_type(item)}")
        return found

    def _typed(self, key: str, kind: type[T] | tuple[type[T], ...], name: str) -> T | None:
        value = self._value.get(key)
        if value is None:
            return None
        # JSON's booleans are no numbers, Python's are.
        if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
            return value
        self.refuse(key, f"{key} must be {name}, not {json_type(value)}")
        return None

    def _within(self, key: str, value: Number, least: float, most: float | None) -> Number | None:
        if value >= least and (most is None or value <= most):
            return value
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        self.refuse(key, f"{key} must be {bounds}, not {value}")
        return None
