"""The RegisterModel step: a new version of a model package group."""

from __future__ import annotations

import hashlib

from mlops.execution.step_run import StepResult, StepRun
from mlops.execution.steps.service_call import call
from mlops.ports import JsonObject, StepStatus


class RegisterModelExecutor:
    """Carries out RegisterModel steps through the model registry."""

    def run(self, run: StepRun) -> StepResult:
        request = run.resolve_arguments()
        # The same attempt, taken up by another gateway, adds no second version.
        token = hashlib.sha256(f"{run.execution.arn} {run.step.name} {run.attempt}".encode())
        request = {"ClientToken": token.hexdigest()[:36], **request}
        package = call("CreateModelPackage", run.parts.registry.register, request)
        return StepResult(
            status=StepStatus.SUCCEEDED,
            metadata={"RegisterModel": {"Arn": package["ModelPackageArn"]}},
            outputs=package,
            detail=_detail(package),
        )


def _detail(package: JsonObject) -> str:
    name = package.get("ModelPackageGroupName") or package.get("ModelPackageName", "")
    version = package.get("ModelPackageVersion")
    parts = [
        name if version is None else f"{name}/{version}",
        package.get("ModelApprovalStatus"),
    ]
    return " · ".join(part for part in parts if part)
