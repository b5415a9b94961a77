"""A part of a pipeline, run alone: which steps, and what they take from an earlier execution. Pure.

SageMaker's documentation, "Selective execution of pipeline steps", and botocore's
``SelectiveExecutionConfig``: the selected steps are connected in the graph; all steps on all paths
between two of them are selected too; steps before them lend the outputs that they had in another
execution; steps after them do not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops.definition import DependencyGraph
from mlops.errors import UsageError


@dataclass(frozen=True, slots=True)
class Selection:
    """``selected`` run; ``reused`` have succeeded elsewhere, with the outcome that they had."""

    selected: frozenset[str]
    reused: Mapping[str, str | None]
    """The outcome is a condition step's, None for every other."""


def steps_before(graph: DependencyGraph, selected: Iterable[str]) -> tuple[str, ...]:
    """The steps that the selected ones wait for, directly or not, and that are not selected.

    In the order of the document.

    Raises:
        UsageError: there is no such step, or the steps cannot be run alone; says why.
    """
    chosen = frozenset(selected)
    unknown = sorted(chosen - set(graph.names))
    if unknown:
        raise UsageError(
            f"The pipeline has no step {', '.join(unknown)}",
            next_step=f"select from: {', '.join(graph.names)}",
        )
    before = _reached(graph.after, chosen)
    between = sorted((before & _reached(graph.before, chosen)) - chosen)
    if between:
        raise UsageError(
            f"The selected steps have others between them: {', '.join(between)}",
            next_step="select these as well",
        )
    _check_connected(graph, chosen)
    return tuple(name for name in graph.names if name in before - chosen)


def _reached(edges: Mapping[str, tuple[str, ...]], start: Iterable[str]) -> set[str]:
    """What can be reached from `start` over at least one edge."""
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        for name in edges[waiting.pop()]:
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return reached


def _check_connected(graph: DependencyGraph, chosen: frozenset[str]) -> None:
    """By edges between selected steps, in whichever direction."""
    first = next(name for name in graph.names if name in chosen)
    together, waiting = {first}, [first]
    while waiting:
        name = waiting.pop()
        for other in (*graph.after[name], *graph.before[name]):
            if other in chosen and other not in together:
                together.add(other)
                waiting.append(other)
    apart = sorted(chosen - together)
    if apart:
        raise UsageError(
            f"The selected steps are not connected: {', '.join(apart)} with {first}",
            next_step="select the steps that connect them as well, or start two executions",
        )
