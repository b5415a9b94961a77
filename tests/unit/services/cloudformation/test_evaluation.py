"""The intrinsic functions."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.cloudformation.evaluation import NO_VALUE, Scope, evaluate
from mlops.services.cloudformation.functions import Reference, references
from mlops.unknown import UNKNOWN

SCOPE = Scope(
    values={"P": "value", "L": ["a", "b"], "AWS::Region": "us-east-1"},
    mappings={"M": {"k": {"x": "1", "l": ["p", "q"]}}},
    conditions={"Yes": True, "No": False}.__getitem__,
    reference=lambda name: f"ref-{name}",
    attribute=lambda name, attribute: f"{name}:{attribute}",
    imported=lambda name: f"imported-{name}",
)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"Ref": "P"}, "value"),
        ({"Ref": "R"}, "ref-R"),
        ({"Ref": "AWS::Region"}, "us-east-1"),
        ({"Fn::GetAtt": ["R", "Arn"]}, "R:Arn"),
        ({"Fn::Sub": "${P}-${R}-${R.Arn}-${!Literal}-${AWS::Region}"},
         "value-ref-R-R:Arn-${Literal}-us-east-1"),
        ({"Fn::Sub": ["${X}${P}", {"X": {"Ref": "R"}}]}, "ref-Rvalue"),
        ({"Fn::Join": ["-", ["a", {"Ref": "P"}, 5]]}, "a-value-5"),
        ({"Fn::Join": [",", {"Ref": "L"}]}, "a,b"),
        ({"Fn::Select": ["1", {"Ref": "L"}]}, "b"),
        ({"Fn::Split": ["-", "a-b-c"]}, ["a", "b", "c"]),
        ({"Fn::If": ["Yes", 1, {"Fn::Select": ["9", []]}]}, 1),
        ({"Fn::If": ["No", 1, {"Ref": "P"}]}, "value"),
        ({"Fn::Equals": ["5", 5]}, True),
        ({"Fn::Equals": [True, "true"]}, True),
        ({"Fn::And": [{"Condition": "Yes"}, {"Condition": "No"}]}, False),
        ({"Fn::Or": [{"Condition": "Yes"}, {"Condition": "No"}]}, True),
        ({"Fn::Not": [{"Condition": "No"}]}, True),
        ({"Fn::FindInMap": ["M", "k", "x"]}, "1"),
        ({"Fn::FindInMap": ["M", "k", "l"]}, ["p", "q"]),
        ({"Fn::ImportValue": {"Fn::Sub": "${P}-x"}}, "imported-value-x"),
        ({"Fn::Base64": "abc"}, "YWJj"),
        ({"Fn::Cidr": ["10.0.0.0/24", 2, "5"]}, ["10.0.0.0/27", "10.0.0.32/27"]),
        ({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}, {"b": [1]}),
        ({"Ref": "P", "Other": 1}, {"Ref": "P", "Other": 1}),
    ],
)  # fmt: skip
def test_functions(value: Any, result: Any) -> None:
    assert evaluate(value, SCOPE) == result


def test_no_value() -> None:
    assert evaluate({"Ref": "AWS::NoValue"}, SCOPE) is NO_VALUE


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::Sub": "a-${R}"},
        {"Fn::Join": ["", ["a", {"Fn::GetAtt": ["R", "Arn"]}]]},
        {"Fn::Select": [0, {"Fn::Split": ["/", {"Ref": "R"}]}]},
        {"Fn::Base64": {"Ref": "R"}},
    ],
)
def test_what_is_made_of_the_unknown_is_unknown(value: Any) -> None:
    assert evaluate(value, Scope(values={})) is UNKNOWN


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"Fn::Select": [2, ["a"]]}, "nonexistent value at index 2"),
        ({"Fn::Join": "x"}, "every Fn::Join object requires"),
        ({"Fn::Split": ["", "x"]}, "delimiter cannot be empty"),
        ({"Fn::FindInMap": ["M", "k", "z"]}, "Unable to get mapping for M::k::z"),
        ({"Fn::FindInMap": ["N", "k", "z"]}, "Mapping named 'N' is not present"),
        ({"Fn::And": [{"Condition": "Yes"}]}, "2 to 10 conditions"),
        ({"Fn::Not": ["maybe"]}, "no condition"),
        ({"Fn::Sub": ["${A}"]}, "every Fn::Sub object requires"),
        ({"Fn::Cidr": ["10.0.0.0/24", 9999, 5]}, "1 to 256"),
        ({"Fn::Cidr": ["10.0.0.0/30", 9, 1]}, "has no 9 blocks"),
        ({"Fn::Join": ["", [{"a": 1}]]}, "must be a string"),
    ],
)
def test_wrong_arguments(value: Any, told: str) -> None:
    with pytest.raises(ServiceError, match="Template error: ") as caught:
        evaluate(value, SCOPE)
    assert told in caught.value.what


def test_references_of_the_branch_that_is_taken() -> None:
    value = {
        "a": {"Fn::If": ["Yes", {"Ref": "A"}, {"Ref": "B"}]},
        "b": {"Fn::Sub": ["${C.Arn} ${D} ${V}", {"V": {"Ref": "E"}}]},
        "c": [{"Fn::GetAtt": ["F", "Arn"]}],
    }
    found = set(references(value, {"Yes": True}))
    assert found == {
        Reference("A"),
        Reference("C", "Arn"),
        Reference("D"),
        Reference("E"),
        Reference("F", "Arn"),
    }
    assert Reference("B") in set(references(value))
