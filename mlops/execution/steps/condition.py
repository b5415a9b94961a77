"""The Condition step: asks the engine for the outcome."""

from __future__ import annotations

from mlops.definition import ConditionStep
from mlops.engine import evaluate_conditions, explain_conditions
from mlops.execution.step_run import StepResult, StepRun
from mlops.ports import StepStatus


class ConditionExecutor:
    """Carries out Condition steps."""

    def run(self, run: StepRun) -> StepResult:
        step = run.step
        if not isinstance(step, ConditionStep):
            raise AssertionError(f"{step.name} came to the executor of Condition steps")
        outcome = evaluate_conditions(step, run.scope)
        text = "true" if outcome else "false"
        explained = explain_conditions(step, run.scope)
        return StepResult(
            status=StepStatus.SUCCEEDED,
            # The listing writes the outcome with a capital (botocore ConditionOutcome), a
            # reference to it reads it without.
            metadata={"Condition": {"Outcome": text.capitalize()}},
            outputs={"Outcome": text},
            outcome=text,
            detail=explained if outcome else f"{explained} is false",
        )
