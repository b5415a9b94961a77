"""What a rule sends to a target: the event, a part of it, a constant, or a text made of it. Pure.

The EventBridge User Guide, "Amazon EventBridge input transformation"; the API Reference, Target.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from mlops.errors import ServiceError
from mlops.json_text import parse_json
from mlops.ports import JsonObject

_PATH = re.compile(r"\$(?:\.[A-Za-z0-9_\-]+|\[\d+\])*")
_STEP = re.compile(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]")
_PLACE = re.compile(r"<([A-Za-z0-9_.\-]+)>")
_MISSING = object()


def check_target(target: JsonObject) -> None:
    """Raises:
    ServiceError: ``ValidationException``: its input cannot be made.
    """
    given = [name for name in ("Input", "InputPath", "InputTransformer") if name in target]
    if len(given) > 1:
        raise _invalid(
            f"Only one of Input, InputPath, or InputTransformer must be provided: {given}"
        )
    if "Input" in target:
        try:
            parse_json(target["Input"])
        except ValueError as error:
            raise _invalid(f"The Input for target {target['Id']} is no JSON: {error}") from error
    paths = [target["InputPath"]] if "InputPath" in target else []
    transformer = target.get("InputTransformer", {})
    for path in (*paths, *transformer.get("InputPathsMap", {}).values()):
        if not _PATH.fullmatch(path):
            raise _invalid(
                f"{path!r} is no JSONPath that the local EventBridge takes ($.detail.name)"
            )
    known = {*transformer.get("InputPathsMap", {}), *_PREDEFINED}
    for name in _PLACE.findall(transformer.get("InputTemplate", "")):
        if name not in known:
            raise _invalid(f"The InputTemplate names <{name}>, which InputPathsMap does not have")


def input_for(target: JsonObject, event: JsonObject, rule_arn: str) -> str:
    """What `target` is sent of `event`, as text."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        found = _at(target["InputPath"], event)
        return json.dumps(None if found is _MISSING else found)
    transformer = target.get("InputTransformer")
    if transformer is not None:
        return _transformed(transformer, event, rule_arn)
    return json.dumps(event)


def _transformed(transformer: JsonObject, event: JsonObject, rule_arn: str) -> str:
    template = transformer["InputTemplate"]
    values = {name: make(event, rule_arn) for name, make in _PREDEFINED.items()}
    for name, path in transformer.get("InputPathsMap", {}).items():
        values[name] = _at(path, event)

    def put(match: re.Match[str]) -> str:
        value = values.get(match[1], _MISSING)
        if value is _MISSING:
            return ""
        inside = template[: match.start()].count('"') % 2 == 1
        if inside:  # within a text of the template: without quotes of its own
            text = value if isinstance(value, str) else json.dumps(value)
            return json.dumps(text)[1:-1]
        return json.dumps(value)

    return _PLACE.sub(put, template)


def _at(path: str, event: Mapping[str, Any]) -> Any:
    value: Any = event
    for name, index in _STEP.findall(path):
        try:
            value = value[name] if name else value[int(index)]
        except (KeyError, IndexError, TypeError):
            return _MISSING
    return value


_PREDEFINED: Mapping[str, Callable[[JsonObject, str], Any]] = {
    "aws.events.rule-arn": lambda event, rule_arn: rule_arn,
    "aws.events.rule-name": lambda event, rule_arn: rule_arn.rpartition("/")[2],
    "aws.events.event.ingestion-time": lambda event, rule_arn: event["time"],
    "aws.events.event": lambda event, rule_arn: event,
    "aws.events.event.json": lambda event, rule_arn: event,
}


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
