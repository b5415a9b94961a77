"""The Lambda step as SDK v2 emits it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlops.definition import LambdaStep, OutputParameter, OutputType

ARN = "arn:aws:lambda:us-east-1:123456789012:function:answers"


def lambda_step(name: str = "Ask", **members: Any) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "Lambda",
        "Arguments": {"word": "x"},
        "FunctionArn": ARN,
        "OutputParameters": [
            {"OutputName": "word", "OutputType": "String"},
            {"OutputName": "number", "OutputType": "Integer"},
        ],
    } | members


def test_a_step(make: Any, parse: Callable[[Any], Any]) -> None:
    step = parse(make.pipeline(lambda_step())).step("Ask")
    assert isinstance(step, LambdaStep)
    assert step.output_parameters == (
        OutputParameter("word", OutputType.STRING),
        OutputParameter("number", OutputType.INTEGER),
    )


def test_outputs_make_later_steps_wait(make: Any, parse: Callable[[Any], Any]) -> None:
    later = lambda_step("Later", Arguments={"n": {"Get": "Steps.Ask.OutputParameters['number']"}})
    assert parse(make.pipeline(later, lambda_step())).step("Later").dependencies == ("Ask",)


def test_the_function_may_be_a_parameter(make: Any, parse: Callable[[Any], Any]) -> None:
    step = lambda_step(FunctionArn={"Get": "Parameters.Function"})
    parse(make.pipeline(step, parameters=[make.parameter("Function", "String")]))


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"FunctionArn": None}, "Steps[0]", "A Lambda step needs 'FunctionArn'"),
        ({"FunctionArn": "answers"}, "Steps[0].FunctionArn", "no ARN of a Lambda function"),
        ({"FunctionArn": 7}, "Steps[0].FunctionArn", "must be a string or a function"),
        (
            {"OutputParameters": [{"OutputName": "a", "OutputType": "Strng"}]},
            "Steps[0].OutputParameters[0].OutputType",
            "did you mean 'String'?",
        ),
        (
            {"OutputParameters": [{"OutputName": "a"}, {"OutputName": "a"}]},
            "Steps[0].OutputParameters[1].OutputName",
            "Two output parameters are called 'a'",
        ),
        (
            {"OutputParameters": [{"OutputName": str(n)} for n in range(51)]},
            "Steps[0].OutputParameters",
            "at most 50 go",
        ),
        ({"SqsQueueUrl": "x"}, "Steps[0].SqsQueueUrl", "has no member 'SqsQueueUrl'"),
    ],
)
def test_what_is_wrong(
    make: Any,
    problems_of: Callable[[Any], list[tuple[str, str]]],
    change: dict[str, Any],
    path: str,
    message: str,
) -> None:
    ((found, text),) = problems_of(make.pipeline(lambda_step(**change)))
    assert found == path
    assert message in text


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("OutputParameters['nmber']", "has no output parameter 'nmber'; did you mean 'number'?"),
        ("Outcome", "its only properties are its output parameters"),
        ("OutputParameters['word'].x", "its only properties are its output parameters"),
    ],
)
def test_references_to_what_it_does_not_have(
    make: Any,
    problems_of: Callable[[Any], list[tuple[str, str]]],
    reference: str,
    message: str,
) -> None:
    later = lambda_step("Later", Arguments={"x": {"Get": f"Steps.Ask.{reference}"}})
    ((_, text),) = problems_of(make.pipeline(lambda_step(), later))
    assert message in text
