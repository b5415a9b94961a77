"""What properties a resource type takes, and how they become a request's members.

Most types have the members of the operation that makes them, so a schema is read out of botocore's
shapes; where CloudFormation names or nests a property otherwise, a type's own schema says so
(source: the type's page in the CloudFormation template reference).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlops.unknown import UNKNOWN


class Schema(Protocol):
    def problems(self, value: Any, where: str) -> Iterator[str]:
        """What is wrong with a value; `where` is its place as ``#/Tags/0``."""
        ...

    def coerced(self, value: Any) -> Any:
        """The value in the type that is meant: templates write numbers and truths as text, too."""
        ...

    def request(self, value: Any) -> Any:
        """The value as a member of a request."""
        ...


@dataclass(frozen=True, slots=True)
class Scalar:
    kind: str
    allowed: tuple[str, ...] = ()

    def problems(self, value: Any, where: str) -> Iterator[str]:
        if value is UNKNOWN:
            return
        made = self.coerced(value)
        if not isinstance(made, _PYTHON[self.kind]) or (
            isinstance(made, bool) and self.kind != "boolean"
        ):
            yield f"{where}: expected type: {self.kind}, found: {_json_type(value)}"
        elif self.allowed and made not in self.allowed:
            yield f"{where}: #: {made} is not a valid enum value: {', '.join(self.allowed)}"

    def coerced(self, value: Any) -> Any:
        if self.kind == "string" and isinstance(value, bool):
            return "true" if value else "false"
        if self.kind == "string" and isinstance(value, (int, float)):
            return str(value)
        if self.kind == "boolean" and isinstance(value, str) and value.lower() in _TRUTHS:
            return _TRUTHS[value.lower()]
        if self.kind == "integer" and isinstance(value, float) and value.is_integer():
            return int(value)
        if self.kind in ("integer", "number") and isinstance(value, str):
            return _number(value, self.kind)
        return value

    def request(self, value: Any) -> Any:
        return value


_PYTHON: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
_TRUTHS = {"true": True, "false": False}


def _number(text: str, kind: str) -> Any:
    for convert in (int,) if kind == "integer" else (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _json_type(value: Any) -> str:
    names = {str: "String", bool: "Boolean", int: "Integer", float: "Number", list: "JSONArray"}
    return names.get(type(value), "JSONObject" if isinstance(value, dict) else "Null")


STRING, BOOLEAN = Scalar("string"), Scalar("boolean")
INTEGER, NUMBER = Scalar("integer"), Scalar("number")


def enum(*values: str) -> Scalar:
    return Scalar("string", values)


@dataclass(frozen=True, slots=True)
class Document:
    """JSON of any form (a policy, an event pattern); text in the request."""

    def problems(self, value: Any, where: str) -> Iterator[str]:
        if value is not UNKNOWN and not isinstance(value, (dict, str)):
            yield f"{where}: expected type: JSONObject, found: {_json_type(value)}"

    def coerced(self, value: Any) -> Any:
        return value

    def request(self, value: Any) -> Any:
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


DOCUMENT = Document()


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Schema

    def problems(self, value: Any, where: str) -> Iterator[str]:
        if value is UNKNOWN:
            return
        if not isinstance(value, list):
            yield f"{where}: expected type: JSONArray, found: {_json_type(value)}"
            return
        for position, item in enumerate(value):
            yield from self.item.problems(item, f"{where}/{position}")

    def coerced(self, value: Any) -> Any:
        return [self.item.coerced(each) for each in value] if isinstance(value, list) else value

    def request(self, value: Any) -> Any:
        return [self.item.request(each) for each in value]


@dataclass(frozen=True, slots=True)
class MapOf:
    item: Schema

    def problems(self, value: Any, where: str) -> Iterator[str]:
        if value is UNKNOWN:
            return
        if not isinstance(value, dict):
            yield f"{where}: expected type: JSONObject, found: {_json_type(value)}"
            return
        for key, item in value.items():
            yield from self.item.problems(item, f"{where}/{key}")

    def coerced(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: self.item.coerced(child) for key, child in value.items()}

    def request(self, value: Any) -> Any:
        return {key: self.item.request(child) for key, child in value.items()}


@dataclass(frozen=True, slots=True)
class Struct:
    """Named properties. ``names`` has the request's member where it is called otherwise."""

    members: Mapping[str, Schema]
    required: Collection[str] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def problems(self, value: Any, where: str) -> Iterator[str]:
        if value is UNKNOWN:
            return
        if not isinstance(value, dict):
            yield f"{where}: expected type: JSONObject, found: {_json_type(value)}"
            return
        for name in self.required:
            if name not in value:
                yield f"{where}: required key [{name}] not found"
        for name, child in value.items():
            member = self.members.get(name)
            if member is None:
                yield f"{where}: extraneous key [{name}] is not permitted"
            else:
                yield from member.problems(child, f"{where}/{name}")

    def coerced(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            name: self.members[name].coerced(child) if name in self.members else child
            for name, child in value.items()
        }

    def request(self, value: Any) -> Any:
        return {
            self.names.get(name, name): self.members[name].request(child)
            for name, child in value.items()
        }


TAGS = ListOf(Struct({"Key": STRING, "Value": STRING}, ("Key", "Value")))


def of_shape(shape: Any, *, without: Collection[str] = (), capitals: bool = False) -> Schema:
    """The schema of a botocore shape, but for the members `without`, wherever they are.

    `capitals`: members begin small, properties do not.
    """
    kind = shape.type_name

    def inner(part: Any) -> Schema:
        return of_shape(part, without=without, capitals=capitals)

    if kind == "structure":
        named = {_named(name, capitals): name for name in shape.members}
        kept = {prop: member for prop, member in named.items() if prop not in without}
        return Struct(
            {prop: inner(shape.members[member]) for prop, member in kept.items()},
            tuple(
                prop for name in shape.required_members if (prop := _named(name, capitals)) in kept
            ),
            kept if capitals else {},
        )
    if kind == "list":
        return ListOf(inner(shape.member))
    if kind == "map":
        return MapOf(inner(shape.value))
    if kind in ("integer", "long"):
        return INTEGER
    if kind in ("float", "double"):
        return NUMBER
    return BOOLEAN if kind == "boolean" else Scalar("string", tuple(getattr(shape, "enum", ())))


def _named(member: str, capitals: bool) -> str:
    return member[:1].upper() + member[1:] if capitals else member


def of_operation(
    service: str,
    operation: str,
    *,
    without: Collection[str] = (),
    more: Mapping[str, Schema] | None = None,
    required: Collection[str] | None = None,
    names: Mapping[str, str] | None = None,
    capitals: bool = False,
) -> Callable[[], Struct]:
    """The properties that an operation's request has, `more` beside and `without` some of them.

    `without` are members, of the request and of what is in it, that are no properties.

    It is made when it is asked for: loading a service's model takes its time. `names` has the
    members that properties are called otherwise than.
    """

    def made() -> Struct:
        from mlops import aws_model

        shape = of_shape(
            aws_model.load_shape(service, operation), without=without, capitals=capitals
        )
        assert isinstance(shape, Struct)  # an operation's request is a structure
        renamed = {member: prop for prop, member in (names or {}).items()}
        members = {renamed.get(name, name): schema for name, schema in shape.members.items()}
        needed = tuple(shape.required) if required is None else tuple(required)
        return Struct({**members, **(more or {})}, needed, {**shape.names, **(names or {})})

    return made
