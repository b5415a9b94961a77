"""Any template is planned or refused in words: never another error."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.cloudformation.parameters import bind
from mlops.services.cloudformation.planning import Identity, make_plan
from mlops.services.cloudformation.template import parse_template
from mlops.services.cloudformation.types import TYPES

IDENTITY = Identity("arn:aws:cloudformation:::stack/s/1", "s", "us-east-1", "000000000000")
FUNCTIONS = [
    *("Ref", "Condition"),
    *(
        f"Fn::{name}"
        for name in [
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
            "Not",
            "Or",
            "Select",
            "Split",
            "Sub",
            "Foo",
        ]
    ),
]
TEXTS = [
    "A",
    "B",
    "C",
    "P",
    "Q",
    "M",
    "AWS::Region",
    "AWS::NoValue",
    "A.Arn",
    "${A}",
    "${!x}",
    "${A.Arn}-${P}",
    "x",
    "0",
    "1",
]


class Generator:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def template(self) -> dict[str, Any]:
        document: dict[str, Any] = {"Resources": {n: self._resource() for n in self._some("AB")}}
        for section, make in (
            ("Parameters", lambda: {n: self._parameter() for n in self._some("PQ")}),
            ("Conditions", lambda: {"C": self._value()}),
            ("Mappings", lambda: {"M": self._value()}),
            ("Outputs", lambda: {"O": self._maybe({"Value": self._value()})}),
        ):
            if self._random.random() < 0.5:
                document[section] = make()
        return document

    def _some(self, names: str) -> list[str]:
        return self._random.sample(names, self._random.randint(1, len(names)))

    def _resource(self) -> Any:
        kind = self._random.choice([*TYPES, "Custom::Thing"])
        members = sorted(TYPES[kind].schema.members) if kind in TYPES else ["x"]
        names = self._random.sample(members, min(3, len(members)))
        made = {"Type": kind, "Properties": self._maybe({n: self._value() for n in names})}
        for attribute in ("DependsOn", "Condition", "DeletionPolicy", "Metadata"):
            if self._random.random() < 0.2:
                made[attribute] = self._random.choice(["A", "B", "C", "Retain", self._value()])
        return self._maybe(made)

    def _parameter(self) -> Any:
        kind = self._random.choice(["String", "Number", "CommaDelimitedList"])
        return self._maybe({"Type": kind, "Default": self._random.choice(["1", self._value()])})

    def _maybe(self, value: Any) -> Any:
        return value if self._random.random() < 0.9 else self._value()

    def _value(self, depth: int = 0) -> Any:
        kind = self._random.random()
        if depth > 3 or kind < 0.5:
            return self._random.choice([*TEXTS, "", 0, -1, 1.5, True, None])
        if kind < 0.7:
            return {self._random.choice(FUNCTIONS): self._value(depth + 1)}
        children = [self._value(depth + 1) for _ in range(self._random.randint(0, 3))]
        if kind < 0.85:
            return children
        return {self._random.choice([*TEXTS, "Type", "Key"]): child for child in children}


@pytest.mark.parametrize("seed", range(4))
def test_any_template(seed: int) -> None:
    generator, refused = Generator(seed), []
    for _ in range(250):
        document = generator.template()
        try:
            template = parse_template(json.dumps(document))
            _, values = bind(template.parameters, {}, lambda name: "stored")
            make_plan(template, values, IDENTITY, {"team": "x"}, lambda name: "imported")
        except ServiceError as error:
            refused.append(error)
    assert len(refused) > 200
    assert all(error.code == "ValidationError" and error.what for error in refused)


@pytest.mark.parametrize(
    "document",
    [
        {"Resources": {"A": {"Type": "AWS::SQS::Queue"}}, "Conditions": {"C": {"Ref": {}}}},
        {
            "Resources": {
                "A": {
                    "Type": "AWS::SageMaker::ModelPackageGroup",
                    "Properties": {"Fn::ImportValue": "C"},
                }
            }
        },
        {"Resources": {"A": {"Type": "AWS::SQS::Queue", "Properties": {"Tags": {"Ref": ["x"]}}}}},
    ],
)
def test_what_once_was_another_error(document: Any) -> None:
    with pytest.raises(ServiceError):
        make_plan(parse_template(json.dumps(document)), {}, IDENTITY, {"team": "x"})
