"""Answers as the wire wants them, by botocore's output shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from mlops import aws_model
from mlops.ports import JsonObject


def wire_answer(service: str, operation: str, answer: JsonObject) -> JsonObject:
    """The members of the output shape, ready for JSON.

    Members that the shape does not know, None, and empty structures are left out (SDK v3 parses
    strictly: an empty structure with required members is an error there). Moments become epoch
    seconds with milliseconds, as the services' JSON protocol has them.
    """
    shape = aws_model.load_shape(service, operation, output=True)
    return _structure(shape, answer) if shape is not None else {}


def _structure(shape: Any, value: JsonObject) -> JsonObject:
    made = {
        name: _wire(member, value[name])
        for name, member in shape.members.items()
        if value.get(name) is not None
    }
    return {
        name: child
        for name, child in made.items()
        if child != {} or shape.members[name].type_name != "structure"
    }


def _wire(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, value)
    if kind == "list":
        return [_wire(shape.member, child) for child in value]
    if kind == "map":
        return {key: _wire(shape.value, child) for key, child in value.items()}
    if kind == "timestamp":
        return _epoch_seconds(value)
    return value


def _epoch_seconds(value: datetime | str | float) -> float:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = value.timestamp()
    return round(value, 3)
