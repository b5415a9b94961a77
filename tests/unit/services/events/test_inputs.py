"""What targets are sent. Rules: EventBridge User Guide, "Input transformation"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.events.inputs import check_target, input_for

EVENT = {"time": "2026-01-01T00:00:00Z", "detail": {"name": 'a "b"', "list": [1, {"x": 2}]}}
RULE = "arn:aws:events:us-east-1:000000000000:rule/r"


def sent(**target: Any) -> str:
    target = {"Id": "1", "Arn": "arn", **target}
    check_target(target)
    return input_for(target, EVENT, RULE)


def transformed(template: str, **paths: str) -> str:
    return sent(InputTransformer={"InputPathsMap": paths, "InputTemplate": template})


def test_the_event_a_part_of_it_or_a_constant() -> None:
    assert json.loads(sent()) == EVENT
    assert json.loads(sent(InputPath="$.detail.list[1].x")) == 2
    assert sent(InputPath="$.none") == "null"
    assert sent(Input='{"a": 1}') == '{"a": 1}'


def test_a_template() -> None:
    text = transformed(
        '{"n": <name>, "all": "it is <name>", "l": <list>}',
        name="$.detail.name",
        list="$.detail.list",
    )
    assert json.loads(text) == {"n": 'a "b"', "all": 'it is a "b"', "l": [1, {"x": 2}]}
    assert transformed('"<aws.events.rule-name>: <gone>"', gone="$.detail.gone") == '"r: "'
    assert json.loads(transformed('{"e": <aws.events.event.json>}'))["e"] == EVENT


@pytest.mark.parametrize(
    "target",
    [
        {"Input": "no json"},
        {"Input": "{}", "InputPath": "$"},
        {"InputPath": "detail"},
        {"InputPath": "$..a"},
        {"InputTransformer": {"InputPathsMap": {"a": "$.b"}, "InputTemplate": "<c>"}},
    ],
)
def test_what_cannot_be_made(target: dict[str, Any]) -> None:
    with pytest.raises(ServiceError):
        check_target({"Id": "1", "Arn": "arn", **target})
