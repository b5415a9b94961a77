"""The Fail step: ends the execution with its message."""

from __future__ import annotations

from mlops.execution.step_run import StepResult, StepRun
from mlops.ports import StepStatus


class FailExecutor:
    """Carries out Fail steps."""

    def run(self, run: StepRun) -> StepResult:
        message = str(run.resolve_arguments().get("ErrorMessage", ""))
        return StepResult(
            status=StepStatus.FAILED,
            metadata={"Fail": {"ErrorMessage": message}},
            failure_reason=message,
        )
