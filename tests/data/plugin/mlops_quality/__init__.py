"""A plug-in: QualityCheck steps that count the objects of the dataset that they are to check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition import Step
from mlops.execution.step_run import StepResult, StepRun
from mlops.ports import StepStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityCheckStep(Step):
    """The members of the definition's step beyond those that every step has, and its arguments."""

    MEMBERS: ClassVar[tuple[str, ...]] = ("RetryPolicies", "CacheConfig", "CheckType")
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = ("Dataset",)


class QualityCheckExecutor:
    """Has no state: one object serves every execution."""

    def run(self, run: StepRun) -> StepResult:
        uri = run.resolve_arguments()["Dataset"]
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        count = sum(1 for _ in run.parts.objects.list(bucket, prefix))
        if not count:
            raise ValueError(f"there is nothing to check at {uri}")
        return StepResult(
            status=StepStatus.SUCCEEDED,
            outputs={"CheckedObjects": count},  # Steps.<name>.CheckedObjects of later steps
            detail=f"{count} objects",
        )


class QualityCheckPlugin:
    step = QualityCheckStep
    executor = QualityCheckExecutor()
