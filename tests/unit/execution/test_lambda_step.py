"""Lambda steps over a function host that is a function."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.execution.steps import lambda_
from mlops.ports import ExecutionStatus, JsonObject, StepStatus

from .house import ACCOUNT, REGION, Build, House

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:answers"
LOG = "START RequestId: r\nasked\nEND RequestId: r\n"


class Host:
    """``ports.FunctionHost``, as far as steps use it."""

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        self._answer = answer
        self.asked: list[JsonObject] = []

    def invoke(self, request: JsonObject) -> JsonObject:
        self.asked.append(request)
        answer = self._answer(json.loads(request["Payload"]))
        if isinstance(answer, dict) and "Payload" in answer:
            return answer
        return {
            "StatusCode": 200,
            "Payload": json.dumps(answer).encode(),
            "LogResult": base64.b64encode(LOG.encode()).decode(),
        }

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a step must not call {name}")


def ask(name: str = "Ask", outputs: dict[str, str] | None = None, **more: Any) -> JsonObject:
    return {
        "Name": name,
        "Type": "Lambda",
        "Arguments": more.pop("arguments", {"word": "x"}),
        "FunctionArn": ARN,
        "OutputParameters": [
            {"OutputName": output, "OutputType": kind}
            for output, kind in (outputs or {"word": "String"}).items()
        ],
        **more,
    }


@pytest.fixture
def house_of(build: Build) -> Callable[[Callable[[Any], Any]], tuple[House, Host]]:
    def make(answer: Callable[[Any], Any]) -> tuple[House, Host]:
        host = Host(answer)
        return build(functions=host), host

    return make


def test_arguments_are_the_event_and_outputs_the_answer(house_of: Any) -> None:
    house, host = house_of(lambda event: {"word": event["word"] + "!", "more": 1})
    execution = house.run(ask())
    step = house.steps(execution)["Ask"]
    assert step.status is StepStatus.SUCCEEDED
    assert step.metadata == {
        "Lambda": {"Arn": ARN, "OutputParameters": [{"Name": "word", "Value": "x!"}]}
    }
    assert step.outputs == {"OutputParameters": {"word": "x!"}}
    assert host.asked[0]["FunctionName"] == ARN
    assert (house.settings.store / step.log).read_text() == LOG


def test_outputs_go_on_into_later_steps_with_their_types(house_of: Any) -> None:
    types = {"i": "Integer", "f": "Float", "b": "Boolean", "s": "String"}
    house, host = house_of(lambda event: {"i": "7", "f": 2, "b": True, "s": 1.5, "word": "w"})
    got = {name: {"Get": f"Steps.Ask.OutputParameters['{name}']"} for name in types}
    house.run(ask(outputs=types), ask("Later", arguments=got))
    later = json.loads(host.asked[1]["Payload"])
    assert later == {"i": 7, "f": 2.0, "b": True, "s": "1.5"}
    assert isinstance(later["f"], float)


def test_outputs_decide_conditions(house_of: Any) -> None:
    house, _ = house_of(lambda event: {"n": 3})
    condition = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {
            "Conditions": [
                {
                    "Type": "GreaterThan",
                    "LeftValue": {"Get": "Steps.Ask.OutputParameters['n']"},
                    "RightValue": 2,
                }
            ],
            "IfSteps": [ask("Then", {"n": "Integer"})],
            "ElseSteps": [{"Name": "No", "Type": "Fail", "Arguments": {"ErrorMessage": "too few"}}],
        },
    }
    execution = house.run(ask(outputs={"n": "Integer"}), condition)
    assert execution.status is ExecutionStatus.SUCCEEDED
    assert "Then" in house.steps(execution)


def test_a_step_without_outputs_takes_any_answer(house_of: Any) -> None:
    house, _ = house_of(lambda event: [1, 2])
    step = ask()
    step["OutputParameters"] = []
    assert house.run(step).status is ExecutionStatus.SUCCEEDED


def reason_of(house: House, *steps: JsonObject) -> str:
    execution = house.run(*steps)
    assert execution.status is ExecutionStatus.FAILED
    step = house.steps(execution)["Ask"]
    assert step.metadata == {"Lambda": {"Arn": ARN}}
    return step.failure_reason or ""


@pytest.mark.parametrize(
    ("answer", "outputs", "reason"),
    [
        ({"other": 1}, {"word": "String"}, "has no output parameter 'word'; it has other"),
        ({"word": None}, {"word": "String"}, "has no output parameter 'word'"),
        ([1], {"word": "String"}, "is no JSON object with the output parameters word: [1]"),
        ({"word": [1]}, {"word": "String"}, "'word' of the Lambda function .* is no String: [1]"),
        ({"n": 1.5}, {"n": "Integer"}, "is no Integer: 1.5"),
        ({"n": "many"}, {"n": "Float"}, 'is no Float: "many"'),
        ({"n": 1}, {"n": "Boolean"}, "is no Boolean: 1"),
        ({"word": "x" * 1025}, {"word": "String"}, "is 1025 characters long, at most 1024 go"),
        (
            {"FunctionError": "Unhandled", "Payload": b'{"errorType": "E", "errorMessage": "m"}'},
            {"word": "String"},
            "failed: E: m",
        ),
        (
            {"FunctionError": "Unhandled", "Payload": b"broken"},
            {"word": "String"},
            "failed: broken",
        ),
        ({"Payload": b"no json"}, {"word": "String"}, "is no JSON object"),
    ],
)
def test_answers_that_fail_the_step(
    house_of: Any, answer: Any, outputs: dict[str, str], reason: str
) -> None:
    house, _ = house_of(lambda event: answer)
    told = reason_of(house, ask(outputs=outputs))
    assert told.startswith("ClientError: ")
    for part in reason.split(" .* "):
        assert part in told


def test_a_function_that_is_not_there(house_of: Any) -> None:
    def missing(event: Any) -> Any:
        raise ServiceError("ResourceNotFoundException", f"Function not found: {ARN}", status=404)

    house, _ = house_of(missing)
    assert reason_of(house, ask()) == (
        f"ClientError: Failed to invoke lambda:Invoke. Error Details: Function not found: {ARN}"
    )


def test_without_functions_the_step_is_refused(build: Build) -> None:
    assert "there are no functions here" in reason_of(build(), ask())


def test_a_function_that_takes_too_long(house_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    house, _ = house_of(lambda event: released.wait(10))
    executor = lambda_.LambdaExecutor(maximum_seconds=0.1)
    from mlops.definition import StepType
    from mlops.execution.steps import EXECUTORS

    monkeypatch.setitem(EXECUTORS, StepType.LAMBDA, executor)  # type: ignore[arg-type]  # a Mapping to everybody else
    told = reason_of(house, ask())
    released.set()
    assert "has not answered within 0.1 seconds, which is the limit of a Lambda step" in told


def test_a_stop_does_not_wait_for_the_function(house_of: Any) -> None:
    asked, released = threading.Event(), threading.Event()

    def wait(event: Any) -> Any:
        asked.set()
        released.wait(10)
        return {"word": "late"}

    house, _ = house_of(wait)
    execution = house.start(ask())
    assert asked.wait(5)
    house.manager.stop(execution.arn)
    ended = house.end_of(execution, 5)
    released.set()
    assert ended.status is ExecutionStatus.STOPPED
    assert house.steps(execution)["Ask"].status is StepStatus.STOPPED
