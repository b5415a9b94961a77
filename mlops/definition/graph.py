"""Which step waits for which: the graph behind a definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mlops.definition.steps.base import Step
from mlops.definition.trigger import Trigger

_MAX_CYCLES = 10  # further cycles of a definition this broken would only hide the first ones


@dataclass(frozen=True, slots=True)
class Gate:
    """The condition step that a nested step belongs to, and the outcome that lets it run."""

    step: str
    outcome: bool


@dataclass(frozen=True, slots=True)
class DependencyGraph:
    """Step names in the order of the document, and the edges between them.

    ``after[name]`` are the steps that ``name`` waits for, its gate's among them; ``before[name]``
    are those that wait for it. ``triggers[name]`` has those that it waits for to end in another way
    than ``Completed``.
    """

    names: tuple[str, ...]
    after: Mapping[str, tuple[str, ...]]
    before: Mapping[str, tuple[str, ...]]
    gates: Mapping[str, Gate]
    triggers: Mapping[str, Mapping[str, Trigger]] = field(default_factory=dict)

    def trigger(self, name: str, after: str) -> Trigger:
        """The end of `after` that lets `name` run, which waits for it."""
        return self.triggers.get(name, {}).get(after, Trigger.COMPLETED)


def walk(steps: Iterable[Step]) -> Iterator[Step]:
    """The steps in the order of the document, each before those nested in it."""
    waiting = list(steps)[::-1]
    while waiting:
        step = waiting.pop()
        yield step
        nested = [inner for branch in step.branches.values() for inner in branch]
        waiting.extend(reversed(nested))


def build_graph(steps: Iterable[Step]) -> DependencyGraph:
    """The graph of a definition's top-level steps. Names that no step has are left out."""
    everything = tuple(walk(steps))
    names = tuple(step.name for step in everything)
    known = set(names)
    gates = {
        inner.name: Gate(step.name, outcome)
        for step in everything
        for outcome, branch in step.branches.items()
        for inner in branch
    }
    after: dict[str, tuple[str, ...]] = {}
    before: dict[str, list[str]] = {name: [] for name in names}
    for step in everything:
        gate = gates.get(step.name)
        wanted = (*((gate.step,) if gate else ()), *step.dependencies)
        after[step.name] = tuple(dict.fromkeys(name for name in wanted if name in known))
        for name in after[step.name]:
            before[name].append(step.name)
    return DependencyGraph(
        names,
        after,
        {name: tuple(later) for name, later in before.items()},
        gates,
        {step.name: step.triggers for step in everything if step.triggers},
    )


def find_cycles(graph: DependencyGraph) -> Sequence[tuple[str, ...]]:
    """Cycles, each as the names along it with the first again at the end.

    Not every cycle there is: enough that each can be mended, none twice.
    """
    search = _CycleSearch(graph.before)
    for name in graph.names:
        search.visit(name)
    return search.cycles


class _CycleSearch:
    """A depth-first search with a stack of its own: chains of thousands of steps are fine."""

    def __init__(self, before: Mapping[str, tuple[str, ...]]) -> None:
        self._before = before
        self._done: set[str] = set()
        self._position: dict[str, int] = {}  # on the current path
        self._reported: set[str] = set()
        self.cycles: list[tuple[str, ...]] = []

    def visit(self, root: str) -> None:
        if root in self._done:
            return
        path = [root]
        self._position[root] = 0
        edges = [iter(self._before[root])]
        while path:
            following = next(edges[-1], None)
            if following is None:
                self._leave(path, edges)
            elif following in self._position:
                self._report(path, following)
            elif following not in self._done:
                self._position[following] = len(path)
                path.append(following)
                edges.append(iter(self._before[following]))

    def _leave(self, path: list[str], edges: list[Iterator[str]]) -> None:
        name = path.pop()
        edges.pop()
        del self._position[name]
        self._done.add(name)

    def _report(self, path: list[str], start: str) -> None:
        if len(self.cycles) >= _MAX_CYCLES or {start, path[-1]} & self._reported:
            return
        cycle = (*path[self._position[start] :], start)
        self._reported.update(cycle)
        self.cycles.append(cycle)
