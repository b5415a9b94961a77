"""`diff`: two executions side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlops import app
from mlops.definition import NAME_MEMBERS
from mlops.settings import Settings

ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is not the same in both; `ABSENT` where one of them has none."""

    path: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class StepPair:
    """A step in both executions; None of one in which it has not run."""

    name: str
    statuses: tuple[str | None, str | None]
    seconds: tuple[float | None, float | None]
    cached: tuple[bool, bool]

    @property
    def differs(self) -> bool:
        """Whether it ended otherwise, or was cached in one of them alone; times always differ."""
        return self.statuses[0] != self.statuses[1] or self.cached[0] != self.cached[1]


@dataclass(frozen=True, slots=True)
class Difference:
    """``first`` and ``second`` are the executions' ids."""

    first: str
    second: str
    statuses: tuple[str, str]
    seconds: tuple[float | None, float | None]
    parameters: tuple[Change, ...]
    definition: tuple[Change, ...]
    """By JSON path; elements that have names go by them: ``Steps['Train'].Arguments``."""
    steps: tuple[StepPair, ...]
    metrics: tuple[Change, ...]
    """Of training jobs, and the numbers in property files: ``Evaluate: mse.value``."""

    @property
    def differs(self) -> bool:
        """Whether anything but times is not the same."""
        steps = any(step.differs for step in self.steps)
        changes = self.parameters or self.definition or self.metrics
        return bool(changes) or steps or self.statuses[0] != self.statuses[1]


def diff(settings: Settings, first: str, second: str) -> Difference:
    """Compare two executions, of one pipeline or of two, by their ids.

    Raises:
        UsageError: there is no such execution.
    """
    client = app.client(settings)
    return compare(client.execution(first), client.execution(second))


def compare(first: Mapping[str, Any], second: Mapping[str, Any]) -> Difference:
    """As `diff`, of two documents of ``gateway.execution_details``."""
    one, other = first["execution"], second["execution"]
    return Difference(
        first=one["id"],
        second=other["id"],
        statuses=(one["status"], other["status"]),
        seconds=(_seconds(one), _seconds(other)),
        parameters=tuple(changes(first["parameters"], second["parameters"])),
        definition=tuple(changes(first["definition"], second["definition"])),
        steps=tuple(_pairs(first["steps"], second["steps"])),
        metrics=tuple(changes(_flat(first["step_metrics"]), _flat(second["step_metrics"]))),
    )


def changes(first: Any, second: Any, path: str = "") -> Iterator[Change]:
    """Where two JSON values differ, each place once, as deep as it can be told."""
    if isinstance(first, dict) and isinstance(second, dict):
        for key in dict.fromkeys([*first, *second]):
            at = f"{path}.{key}" if path else str(key)
            yield from changes(first.get(key, ABSENT), second.get(key, ABSENT), at)
    elif isinstance(first, list) and isinstance(second, list):
        yield from _list_changes(first, second, path)
    # 1 and True are equal in Python, not in JSON.
    elif first != second or isinstance(first, bool) != isinstance(second, bool):
        yield Change(path, first, second)


def _list_changes(first: list[Any], second: list[Any], path: str) -> Iterator[Change]:
    member = _name_member([*first, *second])
    if member is None:
        for index in range(max(len(first), len(second))):
            one, other = (each[index] if index < len(each) else ABSENT for each in (first, second))
            yield from changes(one, other, f"{path}[{index}]")
        return
    named = [{each[member]: each for each in values} for values in (first, second)]
    for name in dict.fromkeys([*named[0], *named[1]]):
        at = f"{path}[{name!r}]"
        yield from changes(named[0].get(name, ABSENT), named[1].get(name, ABSENT), at)


def _name_member(values: Sequence[Any]) -> str | None:
    """What all of a list's elements are called by, where that is so."""
    if not values or not all(isinstance(each, dict) for each in values):
        return None
    members = ("Name", *NAME_MEMBERS)
    return next((m for m in members if all(isinstance(each.get(m), str) for each in values)), None)


def _pairs(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]
) -> Iterator[StepPair]:
    one, other = ({step["name"]: step for step in steps} for steps in (first, second))
    for name in dict.fromkeys([*one, *other]):
        both = (one.get(name), other.get(name))
        yield StepPair(
            name,
            (_of(both[0], "status"), _of(both[1], "status")),
            (_of(both[0], "seconds"), _of(both[1], "seconds")),
            (bool(_of(both[0], "cache_hit")), bool(_of(both[1], "cache_hit"))),
        )


def _of(step: Mapping[str, Any] | None, member: str) -> Any:
    return None if step is None else step[member]


def _flat(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{step}: {name}": v for step, values in metrics.items() for name, v in values.items()}


def _seconds(execution: Mapping[str, Any]) -> float | None:

    if execution["ended_at"] is None:
        return None
    ended = datetime.fromisoformat(execution["ended_at"])
    return (ended - datetime.fromisoformat(execution["started_at"])).total_seconds()
