"""The part of JSONPath that DataProcessing takes. Pure.

The Developer Guide, "Associate Prediction Results with Input Records", lists it: ``$``, ``.name``,
``*``, ``['name', 'name']``, ``[number, number]``, ``[start:end]``; the API Reference adds numbers
and slices in one pair of brackets (``$[0,5:]``) and says that an index outside the data is an
error. A slice leaves its end out, as in the JsonPath library that the guide refers to: ``$[0:-1]``
is all but the last.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>[^.\[\]*'"\s]+)
      | \.\* | \[\s*\*\s*\]
      | \[(?P<inside>[^\[\]]+)\]""",
    re.VERBOSE,
)
_QUOTED = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)")\s*""")
_INDEX = re.compile(r"\s*(-?\d+)\s*")
_SLICE = re.compile(r"\s*(-?\d+)?\s*:\s*(-?\d+)?\s*")


class BadPath(ValueError):
    """It is no JSONPath of that part."""


class NothingThere(ValueError):
    """The data has not what the path selects."""


@dataclass(frozen=True, slots=True)
class Names:
    """Members of an object: one is its value, several are an object of them."""

    names: tuple[str, ...]

    def select(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise NothingThere(f"there is no {self.names[0]!r} in {_kind(value)}")
        missing = [name for name in self.names if name not in value]
        if missing:
            raise NothingThere(f"there is no {missing[0]!r} in the object")
        if len(self.names) == 1:
            return value[self.names[0]]
        return {name: value[name] for name in self.names}


@dataclass(frozen=True, slots=True)
class Everything:
    """All values of an array or an object, as an array."""

    def select(self, value: Any) -> Any:
        if isinstance(value, dict):
            return list(value.values())
        if isinstance(value, list):
            return list(value)
        raise NothingThere(f"{_kind(value)} has no members")


@dataclass(frozen=True, slots=True)
class Elements:
    """Elements of an array: one index is its element, several or a slice are an array of them."""

    parts: tuple[int | slice, ...]

    def select(self, value: Any) -> Any:
        if not isinstance(value, list):
            raise NothingThere(f"{_kind(value)} has no elements")
        if len(self.parts) == 1 and isinstance(self.parts[0], int):
            return _element(value, self.parts[0])
        chosen: list[Any] = []
        for part in self.parts:
            if isinstance(part, int):
                chosen.append(_element(value, part))
            else:
                if part.start is not None and not -len(value) <= part.start < len(value):
                    raise NothingThere(f"there is no element {part.start}: there are {len(value)}")
                chosen += value[part]
        return chosen


Step = Names | Everything | Elements


@dataclass(frozen=True, slots=True)
class JsonPath:
    text: str
    steps: tuple[Step, ...]

    @property
    def is_all(self) -> bool:
        """Whether it selects the data as it is."""
        return not self.steps

    def select(self, value: Any) -> Any:
        """What it selects.

        Raises:
            NothingThere: the data has no such part.
        """
        for step in self.steps:
            value = step.select(value)
        return value


def parse_path(text: str) -> JsonPath:
    """Read a JSONPath.

    Raises:
        BadPath: it is none, or not of the documented part.
    """
    text = text.strip() or "$"
    if not text.startswith("$"):
        raise BadPath(f"{text!r} is no JSONPath: it must begin with $")
    steps: list[Step] = []
    place = 1
    while place < len(text):
        match = _STEP.match(text, place)
        if match is None:
            raise BadPath(f"{text!r} is no JSONPath that SageMaker takes, at {text[place:]!r}")
        steps.append(_step(match, text))
        place = match.end()
    return JsonPath(text, tuple(steps))


def _step(match: re.Match[str], text: str) -> Step:
    if match["name"] is not None:
        return Names((match["name"],))
    if match["inside"] is None:
        return Everything()
    parts = match["inside"].split(",")
    quoted = [_QUOTED.fullmatch(part) for part in parts]
    if all(quoted):
        return Names(tuple(each[1] if each[1] is not None else each[2] for each in quoted if each))
    return Elements(tuple(_index(part, text) for part in parts))


def _index(part: str, text: str) -> int | slice:
    if number := _INDEX.fullmatch(part):
        return int(number[1])
    if span := _SLICE.fullmatch(part):
        return slice(*(None if end is None else int(end) for end in span.groups()))
    raise BadPath(f"{text!r} is no JSONPath that SageMaker takes, at [{part}]")


def _element(value: Sequence[Any], index: int) -> Any:
    try:
        return value[index]
    except IndexError:
        raise NothingThere(f"there is no element {index}: there are {len(value)}") from None


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else "a plain value"
