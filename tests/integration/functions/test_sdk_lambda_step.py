"""SDK v2's LambdaStep and Lambda helper, as a project writes them, through the gateway."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mlops.settings import Settings

from .conftest import zipped

SCRIPT = """
def handler(event, context):
    print("asked", event)
    return {"word": "yes " + event["name"], "number": 7, "ratio": 0.25, "flag": True}
"""


@pytest.fixture
def runtime_name() -> str:
    return "process"


@pytest.fixture
def session(url: str, settings: Settings) -> Any:
    from mlops.sessions.local import GatewayPipelineSession

    return GatewayPipelineSession(url, settings)


@pytest.fixture
def answers(session: Any, settings: Settings, tmp_path: Path) -> Callable[..., Any]:
    """The SDK's helper for a function of a script, a zip, or one that exists."""
    from sagemaker.lambda_helper import Lambda

    def make(**how: Any) -> Any:
        if "script" in how:
            (tmp_path / "index.py").write_text(how["script"])
            how["script"] = str(tmp_path / "index.py")
        if "function_arn" not in how:
            how |= {
                "function_name": "answers",
                "execution_role_arn": settings.execution_role_arn,
                "handler": "index.handler",
            }
        return Lambda(session=session, timeout=10, **how)

    return make


def run(session: Any, settings: Settings, *steps: Any, **more: Any) -> dict[str, Any]:
    """Run a pipeline of these steps to its end; its steps by name."""
    from botocore.exceptions import WaiterError
    from sagemaker.workflow.pipeline import Pipeline

    pipeline = Pipeline("Lambdas", steps=list(steps), sagemaker_session=session, **more)
    pipeline.upsert(role_arn=settings.execution_role_arn)
    execution = pipeline.start()
    with suppress(WaiterError):  # it failed: the steps say how
        execution.wait(delay=0.1, max_attempts=300)
    return {step["StepName"]: step for step in execution.list_steps()}


def outputs(**types: str) -> list[Any]:
    from sagemaker.workflow.lambda_step import LambdaOutput, LambdaOutputTypeEnum

    return [LambdaOutput(name, getattr(LambdaOutputTypeEnum, kind)) for name, kind in types.items()]


def test_outputs_of_a_script_decide_and_go_on(
    session: Any, settings: Settings, answers: Any
) -> None:
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionEquals, ConditionGreaterThanOrEqualTo
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.functions import Join
    from sagemaker.workflow.lambda_step import LambdaStep
    from sagemaker.workflow.parameters import ParameterString

    name = ParameterString("Name", default_value="you")
    types = {"word": "String", "number": "Integer", "ratio": "Float", "flag": "Boolean"}
    ask = LambdaStep("Ask", answers(script=SCRIPT), inputs={"name": name}, outputs=outputs(**types))
    got = ask.properties.Outputs
    arn = f"arn:aws:lambda:{settings.region}:{settings.account_id}:function:answers"
    again = LambdaStep(
        "Again",
        answers(function_arn=arn),
        inputs={"name": Join("-", [got["word"], got["number"]])},
        outputs=outputs(word="String"),
    )
    gate = ConditionStep(
        "Gate",
        conditions=[
            ConditionGreaterThanOrEqualTo(left=got["number"], right=7),
            ConditionEquals(left=got["flag"], right=True),
        ],
        if_steps=[again],
        else_steps=[FailStep("No", error_message="no")],
    )
    steps = run(session, settings, ask, gate, parameters=[name])
    assert {step["StepStatus"] for step in steps.values()} == {"Succeeded"}
    assert steps["Ask"]["Metadata"]["Lambda"] == {
        "Arn": arn,
        "OutputParameters": [
            {"Name": "word", "Value": "yes you"},
            {"Name": "number", "Value": "7"},
            {"Name": "ratio", "Value": "0.25"},
            {"Name": "flag", "Value": "true"},
        ],
    }
    (told,) = steps["Again"]["Metadata"]["Lambda"]["OutputParameters"]
    assert told["Value"] == "yes yes you-7"


def test_a_zip_goes_through_s3_and_a_second_upsert_changes_the_function(
    session: Any, settings: Settings, answers: Any, tmp_path: Path
) -> None:
    from sagemaker.workflow.lambda_step import LambdaStep

    code = tmp_path / "code.zip"
    found = []
    for number in (1, 2):
        code.write_bytes(zipped(f"def handler(event, context): return {{'n': {number}}}"))
        function = answers(zipped_code_dir=str(code), s3_bucket=settings.artifact_bucket)
        session.s3_client.create_bucket(Bucket=settings.artifact_bucket)
        steps = run(session, settings, LambdaStep("Ask", function, outputs=outputs(n="Integer")))
        found += steps["Ask"]["Metadata"]["Lambda"]["OutputParameters"]
    assert [each["Value"] for each in found] == ["1", "2"]


def test_a_missing_output_fails_the_step_and_the_helper_can_invoke(
    session: Any, settings: Settings, answers: Any
) -> None:
    from sagemaker.workflow.lambda_step import LambdaStep

    function = answers(script="def handler(event, context): return {'other': 1}")
    steps = run(session, settings, LambdaStep("Ask", function, outputs=outputs(word="String")))
    assert steps["Ask"]["StepStatus"] == "Failed"
    assert "has no output parameter 'word'; it has other" in steps["Ask"]["FailureReason"]
    assert json.load(function.invoke()["Payload"]) == {"other": 1}
    function.delete()
    with pytest.raises(ValueError, match="Function not found"):
        function.invoke()
