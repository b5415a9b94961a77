"""The executors of step types that plug-ins offer (``mlops.plugins``)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mlops.definition import StepType
from mlops.errors import JobError
from mlops.execution.step_run import StepExecutor, StepResult, StepRun
from mlops.plugins import PluginFault, fault, find_step_plugin


@dataclass(frozen=True, slots=True)
class PluggedExecutor:
    """Holds a plug-in's executor to the contract: what it returns is written as it is."""

    kind: StepType
    executor: StepExecutor

    def run(self, run: StepRun) -> StepResult:
        result: object = self.executor.run(run)
        problem = _problem(result)
        if problem is not None or not isinstance(result, StepResult):
            raise JobError(str(fault(self.kind, f"its 'run' returned {problem}")))
        return result


def plugged_executor(kind: StepType) -> StepExecutor:
    """What a plug-in offers for a step type.

    Raises:
        JobError: none does, or it cannot be used.
    """
    try:
        plugin = find_step_plugin(kind)
        if plugin is None:
            raise PluginFault("no installed package offers it any more")
    except PluginFault as error:
        raise JobError(f"The step type {kind} cannot run here: {error}") from error
    return PluggedExecutor(kind, plugin.executor)


def _problem(result: object) -> str | None:
    if not isinstance(result, StepResult):
        return f"{type(result).__name__}, no StepResult"
    if not result.status.ended:
        return f"the status {result.status}, which is no end"
    try:
        json.dumps([result.metadata, result.outputs])
    except (TypeError, ValueError) as error:
        return f"what is no JSON: {error}"
    return None
