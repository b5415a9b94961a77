"""The jobs that pipeline steps made, as their Describe operations tell of them.

A step's ``outputs`` are its job's Describe answer, so that later steps may refer to it; these
operations read the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mlops.ports import JsonObject, StateStore, StepRecord
from mlops.services.operation import Handler
from mlops.services.paging import between, ordered, page
from mlops.services.validation import missing

_KINDS = {"Processing": "ProcessingJob", "Training": "TrainingJob"}


class JobOperations:
    def __init__(self, state: StateStore) -> None:
        self._state = state

    @property
    def handlers(self) -> Mapping[str, Handler]:
        found: dict[str, Handler] = {}
        for step_type, kind in _KINDS.items():
            found[f"Describe{kind}"] = partial(self._describe, step_type, kind)
            found[f"List{kind}s"] = partial(self._list, step_type, kind)
        return found

    def _describe(self, step_type: str, kind: str, request: JsonObject) -> JsonObject:
        step = self._state.find_step_by_job(step_type, request[f"{kind}Name"])
        if step is None or not step.outputs:
            raise missing(f"Describe{kind}", "Requested resource not found.")
        return step.outputs

    def _list(self, step_type: str, kind: str, request: JsonObject) -> JsonObject:
        steps = [
            step
            for step in reversed(self._state.list_job_steps(step_type))
            if step.outputs and _wanted(step, kind, request)
        ]
        by: dict[str, Callable[[Any], Any]] = {
            "Name": lambda step: step.job_name,
            "Status": lambda step: step.outputs.get(f"{kind}Status"),
        }
        rows: Sequence[StepRecord]
        rows, token = page(ordered(steps, request, by), request, lambda step: step.job_name or "")
        return {f"{kind}Summaries": [_summary(row) for row in rows], "NextToken": token}


def _wanted(step: StepRecord, kind: str, request: JsonObject) -> bool:
    changed = step.ended_at or step.started_at
    status = request.get("StatusEquals")
    return (
        request.get("NameContains", "") in (step.job_name or "")
        and (status is None or step.outputs.get(f"{kind}Status") == status)
        and between(
            step.started_at, request.get("CreationTimeAfter"), request.get("CreationTimeBefore")
        )
        and between(
            changed, request.get("LastModifiedTimeAfter"), request.get("LastModifiedTimeBefore")
        )
    )


def _summary(step: StepRecord) -> JsonObject:
    # The summary's shape takes what it knows of the Describe answer.
    return {
        "CreationTime": step.started_at,
        "LastModifiedTime": step.ended_at or step.started_at,
        **step.outputs,
    }
