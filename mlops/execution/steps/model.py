"""The Model step: CreateModel."""

from __future__ import annotations

from mlops.execution.names import with_custom_prefix
from mlops.execution.step_run import StepResult, StepRun
from mlops.execution.steps.service_call import call
from mlops.ports import StepStatus


class ModelExecutor:
    """Carries out Model steps through the model registry."""

    def run(self, run: StepRun) -> StepResult:
        request = run.resolve_arguments()
        prefix = request.get("ModelName")
        name = run.job_name
        if isinstance(prefix, str) and prefix:
            name = with_custom_prefix(prefix, run.job_name)
        model = call("CreateModel", run.parts.registry.create_model, request | {"ModelName": name})
        return StepResult(
            status=StepStatus.SUCCEEDED,
            metadata={"Model": {"Arn": model["ModelArn"]}},
            outputs=model,
            detail=name,
            job_name=name,
        )
