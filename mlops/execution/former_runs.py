"""Why a step that could come from cache runs all the same, where it ran before: for a person."""

from __future__ import annotations

from mlops.engine.caching import key_attributes, made_after
from mlops.execution.step_run import StepRun
from mlops.ports import JsonObject, StateStore, StepRecord, StepStatus

EXECUTIONS_LOOKED_AT = 50


def why_not_used(state: StateStore, run: StepRun, request: JsonObject, key: str) -> str:
    """What keeps the newest former run of the step from being taken over."""
    config = run.step.cache_config
    kept = state.find_cache_entry(key, made_after=None)
    if kept is not None and config is not None:
        after = made_after(config, run.parts.clock.now())
        if after is not None and kept.made_at <= after:
            return f"the same run in {_id(kept.execution_arn)} is older than its ExpireAfter"
    former = _former(state, run)
    if former is None:
        return "it has not run before"
    differing = _differing(run, former, request)
    if differing:
        return f"it differs from its run in {_id(former.execution_arn)}: {', '.join(differing)}"
    return f"its run in {_id(former.execution_arn)} was not kept for the cache"


def _former(state: StateStore, run: StepRun) -> StepRecord | None:
    for execution in state.list_executions(run.execution.pipeline_name, limit=EXECUTIONS_LOOKED_AT):
        step = state.get_step(execution.arn, run.step.name)
        if step is not None and step.status is StepStatus.SUCCEEDED and step.outputs:
            return step
    return None


def _differing(run: StepRun, former: StepRecord, request: JsonObject) -> list[str]:
    """The key attributes that are others, with the members of them that are."""
    if former.type != str(run.step.type):
        return [f"it was a {former.type} step"]
    now = key_attributes(run.step.type, request)
    then = key_attributes(run.step.type, former.outputs)
    return [
        _where(name, then.get(name), now.get(name))
        for name in dict.fromkeys([*now, *then])
        if then.get(name) != now.get(name)
    ]


def _where(path: str, then: object, now: object) -> str:
    """The path of the one place that differs; the path that has several below it."""
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [key for key in dict.fromkeys([*then, *now]) if then.get(key) != now.get(key)]
        if len(keys) == 1:
            return _where(f"{path}.{keys[0]}", then.get(keys[0]), now.get(keys[0]))
    if isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        places = [
            index for index, pair in enumerate(zip(then, now, strict=True)) if pair[0] != pair[1]
        ]
        if len(places) == 1:
            return _where(f"{path}[{places[0]}]", then[places[0]], now[places[0]])
    return path


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]
