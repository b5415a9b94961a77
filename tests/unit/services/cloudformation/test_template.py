"""Templates and their parameters: every problem at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.cloudformation.inputs import check_capabilities, needed_capabilities
from mlops.services.cloudformation.parameters import bind, masked, type_problems
from mlops.services.cloudformation.template import Parameter, Template, parse_template

QUEUE = {"Type": "AWS::SQS::Queue"}


def problems_of(template: Any) -> str:
    text = template if isinstance(template, str) else json.dumps(template)
    with pytest.raises(ServiceError) as caught:
        parse_template(text)
    assert caught.value.code == "ValidationError"
    return caught.value.what


def parsed(template: Any) -> Template:
    return parse_template(json.dumps(template))


def test_every_problem_is_told_at_once() -> None:
    told = problems_of(
        {
            "AWSTemplateFormatVersion": "2011-01-01",
            "Transform": "AWS::Serverless-2016-10-31",
            "Foo": {},
            "Parameters": {"P": {"Default": "x"}, "Q": {"Type": "String", "MinLength": "x"}},
            "Conditions": {"C": {"Fn::Equals": [{"Ref": "Nobody"}, 1]}},
            "Resources": {
                "A": {"Type": "AWS::SQS::Queue", "Condition": "D", "DependsOn": "Z", "Bar": 1},
                "b-c": {"Type": "AWS::SQS::Queue"},
                "E": {"Properties": {"x": {"Fn::Foo": 1}, "y": {"Fn::GetAtt": ["Q1", "Arn"]}}},
                "F": {"Type": "T", "DeletionPolicy": "Snapshot", "UpdatePolicy": {}},
                "G": {"Type": "T", "Properties": {"x": "{{resolve:ssm:/a/b}}"}},
            },
            "Outputs": {"O": {"Description": "no value"}, "P2": {"Value": {"Ref": "Gone"}}},
        }
    )
    for each in (
        "Template format version 2011-01-01 is unsupported.",
        "Transform is refused: macros and transforms do not run",
        "Invalid template property or properties [Foo]",
        "must contain a Type member. (P)",
        "[/Parameters/Q/MinLength] must be a number",
        "Unresolved resource dependencies [Nobody] in the Conditions block",
        "Unresolved condition dependency D in the Resources block",
        "Unresolved resource dependencies [Q1, Z] in the Resources block",
        "[/Resources/A] Encountered unsupported property Bar",
        "Resources name b-c is non alphanumeric.",
        "[/Resources/E] Every Resources object must contain a Type member.",
        "Encountered unsupported function: Fn::Foo",
        "[/Resources/F/DeletionPolicy] Snapshot is refused",
        "[/Resources/F/UpdatePolicy] is refused",
        "{{resolve:ssm:/a/b}} is refused",
        "[/Outputs/O] Every Outputs member must contain a Value object",
        "Unresolved resource dependencies [Gone] in the Outputs block",
    ):
        assert each in told
    assert told.startswith("Template format error: ")


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("just text", "unsupported structure."),
        ("- a", "unsupported structure."),
        ({}, "At least one Resources member must be defined."),
        ({"Resources": []}, "[/Resources] must be an object"),
        ({"Resources": {"A": "x"}}, "[/Resources/A] must be an object"),
        ({"Resources": {f"R{n}": QUEUE for n in range(501)}}, "greater than maximum allowed, 500"),
        ({"Resources": {"A": QUEUE}, "Parameters": {"A": {"Type": "String"}}}, "Duplicate names"),
        ({"Resources": {"A": QUEUE}, "Mappings": {"M": {"k": "x"}}}, "must be a map of maps"),
        ({"Resources": {"A": QUEUE}, "Description": "x" * 1025}, "longer than 1024 bytes"),
        ({"Resources": {"A": QUEUE}, "Rules": {}}, "Rules is refused"),
        ({"Resources": {"A": {**QUEUE, "Properties": {"x": {"Fn::If": ["C"]}}}}}, "Fn::If"),
        ({"Resources": {"A": {**QUEUE, "Properties": {"x": {"Fn::GetAZs": ""}}}}},
         "there are no availability zones here"),
    ],
)  # fmt: skip
def test_problems(template: Any, told: str) -> None:
    assert told in problems_of(template)


def test_what_a_template_says() -> None:
    template = parse_template(
        """
        Description: d
        Parameters: {P: {Type: String, NoEcho: true, AllowedValues: [1, true]}}
        Conditions: {C: !Equals [!Ref P, '1']}
        Resources:
          A: {Type: T, DependsOn: [B], DeletionPolicy: Retain, Condition: C, Metadata: {m: 1}}
          B: {Type: T}
        Outputs: {O: {Value: !Ref B, Export: {Name: !Sub '${AWS::StackName}-o'}}}
        """
    )
    a = template.resources["A"]
    assert (a.depends_on, a.deletion_policy, a.condition) == (("B",), "Retain", "C")
    assert a.update_replace_policy == "Delete"
    assert template.parameters["P"].allowed_values == ("1", "true")
    assert template.parameters["P"].no_echo
    assert template.outputs["O"].export == {"Fn::Sub": "${AWS::StackName}-o"}


# --- parameters ---


def nothing_stored(name: str) -> str:
    raise ServiceError("ValidationError", f"there is no parameter {name}")


def test_values_of_parameters() -> None:
    declared = {
        each.name: each
        for each in (
            Parameter("Text", "String", default=5),
            Parameter("Number", "Number", default="1.5"),
            Parameter("List", "CommaDelimitedList", default="a, b"),
            Parameter("Numbers", "List<Number>", default="1,2"),
            Parameter("Stored", "AWS::SSM::Parameter::Value<String>", default="/x"),
            Parameter("Secret", "String", no_echo=True),
        )
    }
    texts, values = bind(declared, {"Secret": "s"}, lambda name: f"value of {name}")
    assert values == {
        "Text": "5",
        "Number": "1.5",
        "List": ["a", "b"],
        "Numbers": ["1", "2"],
        "Stored": "value of /x",
        "Secret": "s",
    }
    assert texts["Stored"] == "/x"
    assert masked(declared, texts)["Secret"] == "****"


@pytest.mark.parametrize(
    ("parameter", "text", "told"),
    [
        (Parameter("P", "String", allowed_values=("a", "b")), "c", "one of AllowedValues: [a, b]"),
        (Parameter("P", "String", allowed_pattern="[a-z]+"), "A", "must match pattern [a-z]+"),
        (Parameter("P", "String", shortest=2), "a", "at least 2 characters"),
        (Parameter("P", "String", longest=2), "abc", "at most 2 characters"),
        (Parameter("P", "Number"), "x", "must be a number"),
        (Parameter("P", "Number", lowest=1), "0", "not less than 1"),
        (Parameter("P", "Number", highest=1), "2", "not greater than 1"),
        (Parameter("P", "List<Number>"), "1,x", "must be a number"),
        (Parameter("P", "String", allowed_pattern="a", constraint="say a"), "b",
         "failed to satisfy constraint: say a"),
    ],
)  # fmt: skip
def test_constraints(parameter: Parameter, text: str, told: str) -> None:
    with pytest.raises(ServiceError) as caught:
        bind({"P": parameter}, {"P": text}, nothing_stored)
    assert told in caught.value.what


def test_all_that_is_wrong_with_parameters_is_told() -> None:
    declared = {
        "A": Parameter("A", "Number"),
        "B": Parameter("B", "String"),
        "C": Parameter("C", "AWS::SSM::Parameter::Value<String>"),
    }
    with pytest.raises(ServiceError) as caught:
        bind(declared, {"A": "x", "C": "/c", "D": "1"}, nothing_stored)
    for told in ("[D] do not exist", "[B] must have values", "'A' must be a number", "/c"):
        assert told in caught.value.what


def test_types_that_are_not_here() -> None:
    declared = {"K": Parameter("K", "AWS::EC2::KeyPair::KeyName")}
    (told,) = type_problems(declared)
    assert "K has the type AWS::EC2::KeyPair::KeyName, which is refused" in told


# --- capabilities ---


@pytest.mark.parametrize(
    ("resource", "needed"),
    [
        ({"Type": "AWS::IAM::Role"}, ["CAPABILITY_IAM"]),
        ({"Type": "AWS::IAM::Policy", "Properties": {"PolicyName": "p"}}, ["CAPABILITY_IAM"]),
        ({"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r"}}, ["CAPABILITY_NAMED_IAM"]),
        ({"Type": "AWS::SQS::Queue"}, []),
    ],
)
def test_capabilities(resource: dict[str, Any], needed: list[str]) -> None:
    template = parsed({"Resources": {"A": resource}})
    assert needed_capabilities(template)[0] == needed
    check_capabilities(template, ["CAPABILITY_NAMED_IAM"])
    if needed:
        with pytest.raises(ServiceError, match=needed[0]) as caught:
            check_capabilities(template, [])
        assert caught.value.code == "InsufficientCapabilitiesException"
    if needed == ["CAPABILITY_NAMED_IAM"]:
        with pytest.raises(ServiceError):
            check_capabilities(template, ["CAPABILITY_IAM"])
