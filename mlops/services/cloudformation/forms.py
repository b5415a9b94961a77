"""Requests of the query protocol in the types of botocore's model, and answers in its shapes.

A structure in a form is ``Name.Member``, a list ``Name.member.1``; all of it is text (botocore,
``serialize.QuerySerializer``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.ports import JsonObject

SERVICE = "cloudformation"
_DEEPEST = 12
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_request(operation: str, form: Mapping[str, Any]) -> JsonObject:
    """The request of an operation; what the model does not know is left out.

    Lists of plain values may have been put together already.

    Raises:
        ServiceError: ``ValidationError``: two members of the form exclude one another.
    """
    tree: JsonObject = {}
    for key, value in form.items():
        parts = key.split(".")
        if len(parts) > _DEEPEST:
            raise ServiceError("ValidationError", f"{key[:100]} nests deeper than any member")
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ServiceError("ValidationError", f"{key} is beside a value of its own")
        node[parts[-1]] = value
    shape = aws_model.load_shape(SERVICE, operation)
    typed: JsonObject = _typed(shape, tree) if shape is not None else {}
    return typed


def _typed(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {
            name: _typed(shape.members[name], child)
            for name, child in value.items()
            if name in shape.members
        }
    if kind == "list":
        return [_typed(shape.member, each) for each in _items(value)]
    if kind in ("integer", "long") and isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        return int(value)
    if kind == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _items(value: Any) -> list[Any]:
    """The items of a list in the order of their numbers; an empty list is empty text."""
    if isinstance(value, list):
        return value
    members = value.get("member", {}) if isinstance(value, dict) else {}
    if not isinstance(members, dict):
        return []
    numbers = sorted((name for name in members if name.isdecimal()), key=int)
    return [members[number] for number in numbers]


def shaped_answer(operation: str, answer: JsonObject) -> JsonObject:
    """The members that the output shape has, ready for XML; None is no member."""
    shape = aws_model.load_shape(SERVICE, operation, output=True)
    made: JsonObject = _shaped(shape, answer) if shape is not None else {}
    return made


def _shaped(shape: Any, value: Any) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return {
            name: _shaped(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        return [_shaped(shape.member, each) for each in value]
    if kind == "timestamp":
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    return xml_text(value) if isinstance(value, str) else value


def xml_text(text: str) -> str:
    """`text` without the characters that XML has none of."""
    return _NOT_XML.sub("\ufffd", text)
