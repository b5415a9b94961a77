"""The text of a template, JSON or YAML, as plain values with every function in its long form.

What YAML may hold: CloudFormation user guide, "CloudFormation template formats" (YAML 1.1 without
binary, omap, pairs, set and timestamp tags, without aliases and without hash merges). The short
forms of functions are in the user guide's "Intrinsic function reference".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from mlops.json_text import parse_json

DEEPEST = 100
"""Levels of a template; one that nests deeper is refused before anything walks through it."""

_SHORT_FORMS = {"Ref": "Ref", "Condition": "Condition"} | {
    name: f"Fn::{name}"
    for name in (
        "And",
        "Base64",
        "Cidr",
        "Equals",
        "FindInMap",
        "GetAZs",
        "GetAtt",
        "If",
        "ImportValue",
        "Join",
        "Length",
        "Not",
        "Or",
        "Select",
        "Split",
        "Sub",
        "ToJsonString",
        "Transform",
    )
}
_STANDARD = "tag:yaml.org,2002:"
_PLAIN = {"!", f"{_STANDARD}str"}
_COLLECTIONS = {f"{_STANDARD}map", f"{_STANDARD}seq"}
_SCALARS = {f"{_STANDARD}{name}" for name in ("null", "bool", "int", "float")}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BadText(ValueError):
    """The text is no template; the message is a sentence for whoever wrote it."""


def read_text(text: str) -> Any:
    """The values in `text`.

    Raises:
        BadText: it is neither JSON nor the YAML that CloudFormation takes.
    """
    if text.lstrip().startswith("{"):
        try:
            document = parse_json(text)
        except ValueError as error:
            raise BadText(f"JSON not well-formed: {error}") from error
        _check_depth(document)
        return document
    try:
        return _build(yaml.parse(text, Loader=_Loader))
    except yaml.YAMLError as error:
        # Nothing of a template fits more than a line of a log.
        raise BadText(f"YAML not well-formed: {' '.join(str(error).split())}") from error
    except RecursionError:
        raise BadText("it nests too deep") from None


def _check_depth(document: Any) -> None:
    waiting = [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise BadText(f"it nests deeper than {DEEPEST} levels")
        children = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list)):
            waiting.extend((child, depth + 1) for child in children)


class _Open:
    """A list or mapping that is being read."""

    def __init__(self, tag: str | None, value: Any) -> None:
        self.tag = tag
        self.value = value
        self.key: str | None = None

    def add(self, item: Any, at: str) -> None:
        if isinstance(self.value, list):
            self.value.append(item)
        elif self.key is None:
            if not isinstance(item, str):
                raise BadText(f"a key that is no text ({at})")
            if item in self.value:
                raise BadText(f"the key {item} stands twice ({at})")
            self.key = item
        else:
            self.value[self.key], self.key = item, None

    @property
    def wants_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None


def _build(events: Iterator[Any]) -> Any:
    """Events to values, without a recursion that a deep document could exhaust."""
    open_: list[_Open] = [_Open(None, [])]
    for event in events:
        at = f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"
        if isinstance(event, yaml.AliasEvent):
            raise BadText(f"YAML aliases are not allowed in CloudFormation templates ({at})")
        if isinstance(event, yaml.ScalarEvent):
            top = open_[-1]
            top.add(event.value if top.wants_key else _scalar(event, at), at)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            if len(open_) > DEEPEST:
                raise BadText(f"it nests deeper than {DEEPEST} levels ({at})")
            sequence = isinstance(event, yaml.SequenceStartEvent)
            open_.append(_Open(event.tag, [] if sequence else {}))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            done = open_.pop()
            open_[-1].add(_tagged(done.tag, done.value, at), at)
    (root,) = open_
    if len(root.value) != 1:
        raise BadText(f"it has {len(root.value)} YAML documents; a template is one")
    return root.value[0]


def _scalar(event: Any, at: str) -> Any:
    if event.tag in _SCALARS:
        return _resolved(event.value, event.tag)
    if event.tag is not None and event.tag not in _PLAIN:
        return _tagged(event.tag, event.value, at)
    if event.tag is not None or not event.implicit[0]:
        return event.value  # quoted, or said to be text
    return _resolved(event.value)


def _tagged(tag: str | None, value: Any, at: str) -> Any:
    if tag is None or tag in _COLLECTIONS:
        return value
    name = tag.removeprefix("!")
    function = _SHORT_FORMS.get(name)
    if function is None:
        raise BadText(f"the tag {tag} is no function of CloudFormation's ({at})")
    if name == "GetAtt" and isinstance(value, str):
        value = list(value.partition(".")[::2])
    return {function: value}


_resolver = yaml.SafeLoader("")


def _resolved(text: str, said: str | None = None) -> Any:
    """A plain scalar in YAML 1.1's types, or the one that it is `said` to have; moments are text.

    Raises:
        BadText: it is not of the type that it is said to have.
    """
    tag = said or _resolver.resolve(yaml.ScalarNode, text, (True, False))
    try:
        return _constructed(tag.rpartition(":")[2], text, yaml.ScalarNode(tag, text))
    except (ValueError, KeyError) as error:
        raise BadText(f"{text!r} is no {tag.rpartition(':')[2]}") from error


def _constructed(kind: str, text: str, node: Any) -> Any:
    if kind == "null":
        return None
    if kind == "bool":
        return _resolver.construct_yaml_bool(node)
    if kind == "int":
        return _resolver.construct_yaml_int(node)
    if kind == "float":
        return _number(text, _resolver.construct_yaml_float(node))
    return text


def _number(text: str, value: float) -> float | str:
    return value if value - value == 0 else text  # .inf and .nan are no JSON
