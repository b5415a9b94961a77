"""Steps that can never run, and names that nothing uses. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mlops.definition import ConditionStep, GetParameter, PipelineDefinition
from mlops.developing.findings import Finding, Severity
from mlops.engine import dependencies


def find_unreachable(definition: PipelineDefinition) -> Iterator[Finding]:
    """Steps that wait for steps of both branches of a condition, or for a fixed question."""
    needed: dict[str, dict[str, bool]] = {}
    graph = dependencies(definition)
    for name in _in_order(definition):
        gates: dict[str, bool] = {}
        clash: str | None = None
        gate = graph.gates.get(name)
        wanted = [needed[before] for before in graph.after[name] if before in needed]
        wanted += [{gate.step: gate.outcome}] if gate else []
        for each in wanted:
            for condition, outcome in each.items():
                clash = condition if gates.setdefault(condition, outcome) != outcome else clash
        needed[name] = gates
        if clash is not None:
            path = str(definition.step(name).location)
            yield Finding(
                Severity.WARNING,
                path,
                f"The step {name!r} can never run: it waits for steps of both branches of {clash}",
            )


def find_fixed_questions(definition: PipelineDefinition) -> Iterator[Finding]:
    """Conditions that refer to nothing: one of their branches can never run."""
    for step in definition.all_steps():
        if isinstance(step, ConditionStep) and not step.references:
            yield Finding(
                Severity.WARNING,
                f"{step.location}.Arguments.Conditions",
                f"The conditions of {step.name!r} refer to nothing: one of its branches never runs",
            )


def find_unused_parameters(definition: PipelineDefinition) -> Iterator[Finding]:
    """Parameters that no step refers to."""
    used = {
        reference.name
        for step in definition.all_steps()
        for reference in step.references
        if isinstance(reference, GetParameter)
    }
    for index, parameter in enumerate(definition.parameters):
        if parameter.name not in used:
            yield Finding(
                Severity.WARNING,
                f"Parameters[{index}]",
                f"No step refers to the parameter {parameter.name!r}",
            )


def _in_order(definition: PipelineDefinition) -> Iterator[str]:
    """The steps' names, each after those it waits for."""
    graph = dependencies(definition)
    done: set[str] = set()
    waiting = list(graph.names)
    while waiting:
        ready = [name for name in waiting if done.issuperset(graph.after[name])]
        yield from ready
        done.update(ready)
        waiting = [name for name in waiting if name not in done]
