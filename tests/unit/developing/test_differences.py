"""What differs between two executions is told once, as deep as it can be."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlops.developing.differences import ABSENT, changes, compare

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=12,
)


def found(first: Any, second: Any) -> list[tuple[str, Any, Any]]:
    return [(each.path, each.first, each.second) for each in changes(first, second)]


def test_steps_go_by_their_names_wherever_they_stand() -> None:
    first = {"Steps": [{"Name": "A", "X": 1}, {"Name": "B", "X": 1}]}
    second = {"Steps": [{"Name": "B", "X": 2}, {"Name": "C", "X": 1}]}
    assert found(first, second) == [
        ("Steps['A']", {"Name": "A", "X": 1}, ABSENT),
        ("Steps['B'].X", 1, 2),
        ("Steps['C']", ABSENT, {"Name": "C", "X": 1}),
    ]


def test_other_lists_go_by_position_and_true_is_not_one() -> None:
    assert found({"L": [1, 2]}, {"L": [True, 2, 3]}) == [("L[0]", 1, True), ("L[2]", ABSENT, 3)]


@given(JSON)
def test_the_same_value_has_no_change(value: Any) -> None:
    assert found(value, value) == []


@given(JSON, JSON)
def test_values_that_differ_have_one(first: Any, second: Any) -> None:
    if first != second:
        assert found(first, second) or first == second


def details(status: str = "Succeeded", **more: Any) -> dict[str, Any]:
    moments = {"started_at": "2026-01-01T00:00:00+00:00", "ended_at": "2026-01-01T00:00:02+00:00"}
    step = {"name": "A", "status": status, "seconds": 1.0, "cache_hit": False}
    return {
        "execution": {"id": status, "status": status, **moments},
        "parameters": {"P": 1},
        "definition": {},
        "steps": [step],
        "step_metrics": {"A": {"mse": 1.0}},
        **more,
    }


def test_executions_that_differ_in_time_alone_do_not_differ() -> None:
    other = details()
    other["steps"] = [{**other["steps"][0], "seconds": 9.0}]
    assert not compare(details(), other).differs


def test_a_step_that_ran_in_one_alone_is_told() -> None:
    compared = compare(details(), details("Failed", steps=[], step_metrics={"A": {"mse": 2.0}}))
    (step,) = compared.steps
    assert (step.statuses, step.differs) == (("Succeeded", None), True)
    assert [(each.path, each.first, each.second) for each in compared.metrics] == [
        ("A: mse", 1.0, 2.0)
    ]
    assert compared.seconds == (2.0, 2.0)
