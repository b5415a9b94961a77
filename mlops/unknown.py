"""The stand-in for a value that is not known before a pipeline runs."""

from __future__ import annotations


class Unknown:
    """Every rule may hold of it: `aws_model` finds no problem in it."""

    def __deepcopy__(self, memo: object) -> Unknown:
        return self  # there is one: it is known by what it is

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


def holds_unknown(value: object) -> bool:
    """Whether any part of a JSON value is not known."""
    if isinstance(value, dict):
        return any(map(holds_unknown, value.values()))
    if isinstance(value, list):
        return any(map(holds_unknown, value))
    return value is UNKNOWN
