"""``@step`` functions of SDK v2: Training jobs that call a pickled function by the SDK itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import RUNTIMES, Run, statuses, told

IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-processing:latest"


@pytest.fixture
def step(settings: Any) -> Callable[..., Any]:
    """The SDK's decorator for a function that runs on an image of the project."""
    from sagemaker.workflow.function_step import step

    def on_our_image(name: str, **more: Any) -> Any:
        return step(
            name=name,
            image_uri=IMAGE,
            instance_type="ml.m5.large",
            role=settings.execution_role_arn,
            **more,
        )

    return on_our_image


def test_what_functions_return_goes_on_and_decides(run: Run, step: Any, session: Any) -> None:
    """A DelayedReturn is an argument of the next function, and a condition's left side.

    The condition reads ``results.json`` by a Std:JsonGet with an S3Uri.
    """
    from sagemaker.workflow.condition_step import ConditionStep
    from sagemaker.workflow.conditions import ConditionEquals
    from sagemaker.workflow.execution_variables import ExecutionVariables
    from sagemaker.workflow.fail_step import FailStep
    from sagemaker.workflow.functions import Join
    from sagemaker.workflow.parameters import ParameterInteger

    @step("double")
    def double(x: int) -> dict[str, Any]:
        return {"values": [x * 2, "no"]}

    @step("add")
    def add(value: int, name: str) -> str:
        return f"{name} says {value + 1}"

    n = ParameterInteger("N", default_value=4)
    sentence = add(double(n)["values"][0], ExecutionVariables.PIPELINE_NAME)
    gate = ConditionStep(
        name="Gate",
        conditions=[ConditionEquals(left=sentence, right="Forms says 9")],
        if_steps=[FailStep("Heard", error_message=Join(on=": ", values=["It", sentence]))],
        else_steps=[],
    )
    steps = run(gate, parameters=[n])
    assert statuses(steps) == {
        "double": "Succeeded",
        "add": "Succeeded",
        "Gate": "Succeeded",
        "Heard": "Failed",
    }, told(steps)
    assert steps["Heard"]["FailureReason"] == "It: Forms says 9"


class TestWithoutWhatItNeeds:
    @pytest.fixture(params=RUNTIMES)
    def runtime_name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_an_image_that_lacks_a_package_is_told_with_the_next_step(
        self, run: Run, step: Any, tmp_path: Any
    ) -> None:
        """And the project's environment is not changed by a job that runs on it."""
        wanted = tmp_path / "requirements.txt"
        wanted.write_text("a-package-that-is-nowhere\n")

        @step("lost", dependencies=str(wanted), environment_variables={"PIP_NO_INDEX": "1"})
        def lost() -> int:
            return 1

        failed = run(lost())["lost"]
        assert failed["StepStatus"] == "Failed"
        reason = failed["FailureReason"]
        assert "Name an image_uri that has them" in reason
        assert "a-package-that-is-nowhere" in reason
