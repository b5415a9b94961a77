"""Starting a part of a pipeline: what the steps before it lend, and whether they can.

SageMaker's documentation, "Selective execution of pipeline steps": the steps that are not selected
and come before a selected one reuse the outputs that they had in a source execution of the same
pipeline, which must have succeeded or failed. Which execution that is by default ("the latest")
the SDK decides; the operation wants its ARN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mlops.definition import PipelineDefinition
from mlops.engine import dependencies, steps_before
from mlops.errors import UsageError
from mlops.execution.resuming import outcome
from mlops.ports import (
    ExecutionRecord,
    ExecutionStatus,
    JsonObject,
    PipelineRecord,
    StateStore,
    StepRecord,
    StepStatus,
)

_USABLE = (ExecutionStatus.SUCCEEDED, ExecutionStatus.FAILED)


def lent_steps(
    state: StateStore,
    pipeline: PipelineRecord,
    definition: PipelineDefinition,
    config: JsonObject,
) -> Sequence[StepRecord]:
    """The source execution's records of the steps that lend their outputs.

    `config` is botocore's ``SelectiveExecutionConfig``.

    Raises:
        UsageError: the selection breaks a rule, or the source cannot lend what it needs.
    """
    selected = [each["StepName"] for each in config["SelectedSteps"]]
    needed = steps_before(dependencies(definition), selected)
    arn = config.get("SourcePipelineExecutionArn")
    if arn is None:
        if needed:
            raise UsageError(
                f"The selected steps need the outputs of {', '.join(needed)}",
                next_step="give SourcePipelineExecutionArn, or select these as well",
            )
        return ()
    source = _source(state, pipeline, arn)
    steps = {step.name: step for step in state.list_steps(source.arn)}
    for name in needed:
        if name not in steps or steps[name].status is not StepStatus.SUCCEEDED:
            raise UsageError(
                f"The step {name} has not succeeded in the execution {source.id}, so that its "
                "outputs cannot be reused",
                next_step="select it as well, or give another SourcePipelineExecutionArn",
            )
    lent = {name: steps[name] for name in needed}
    _check_branches(definition, {*selected, *needed}, lent, source)
    return sorted(lent.values(), key=lambda step: step.position)


def _source(state: StateStore, pipeline: PipelineRecord, arn: str) -> ExecutionRecord:
    source = state.get_execution(arn)
    if source is None or source.pipeline_arn != pipeline.arn:
        raise UsageError(
            f"The pipeline {pipeline.name} has no execution {arn}",
            next_step="give the ARN of one of its executions as SourcePipelineExecutionArn",
        )
    if source.status not in _USABLE:
        raise UsageError(
            f"The source execution {source.id} is {source.status}",
            next_step="give one that has succeeded or failed as SourcePipelineExecutionArn",
        )
    return source


def _check_branches(
    definition: PipelineDefinition,
    wanted: set[str],
    lent: Mapping[str, StepRecord],
    source: ExecutionRecord,
) -> None:
    """A step in the branch that a condition did not take then would not run now."""
    for name, gate in dependencies(definition).gates.items():
        if name in wanted and gate.step in lent:
            was = outcome(lent[gate.step])
            if was != str(gate.outcome).lower():
                raise UsageError(
                    f"The step {name} is in the branch that {gate.step} did not take in the "
                    f"execution {source.id}: its outcome was {was}",
                    next_step=f"select {gate.step} as well, or give another source",
                )


def as_reused(step: StepRecord, execution: ExecutionRecord, now: datetime) -> StepRecord:
    """The record of a lent step in the execution that reuses it. It has made no job there."""
    return replace(
        step,
        execution_arn=execution.arn,
        reused_from=step.execution_arn,
        started_at=now,
        ended_at=now,
        attempts=1,
        job_name=None,
        overhead_seconds=0.0,
        cache_hit=False,
        cached_from=None,
        log=None,
    )
