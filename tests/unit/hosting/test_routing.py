"""The share of requests that each variant gets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.hosting.routing import WeightedTurns


def shares(weights: dict[str, float], requests: int) -> Counter[str | None]:
    turns = WeightedTurns(weights)
    return Counter(turns.next(weights) for _ in range(requests))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({"a": 1.0}, {"a": 100}),
        ({"a": 1.0, "b": 1.0}, {"a": 50, "b": 50}),
        ({"a": 3.0, "b": 1.0}, {"a": 75, "b": 25}),
        ({"a": 0.9, "b": 0.1}, {"a": 90, "b": 10}),
        ({"a": 5.0, "b": 3.0, "c": 2.0}, {"a": 50, "b": 30, "c": 20}),
        ({"a": 1.0, "b": 0.0}, {"a": 100}),
    ],
)
def test_shares_are_exact(weights: dict[str, float], expected: dict[str, int]) -> None:
    assert shares(weights, 100) == expected


def test_a_small_share_is_spread_evenly() -> None:
    turns = WeightedTurns({"a": 3.0, "b": 1.0})
    order = "".join(str(turns.next("ab")) for _ in range(8))
    assert order == "aabaaaba"


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
    st.integers(1, 300),
)
def test_nobody_is_ever_a_whole_turn_away_from_its_share(given_: list[int], requests: int) -> None:
    weights = {str(number): float(weight) for number, weight in enumerate(given_)}
    counted = shares(weights, requests)
    total = sum(weights.values())
    for name, weight in weights.items():
        assert abs(counted[name] - requests * weight / total) < len(weights)


def test_who_is_down_gets_nothing_and_is_owed_nothing() -> None:
    turns = WeightedTurns({"a": 1.0, "b": 1.0})
    assert [turns.next({"a"}) for _ in range(10)] == ["a"] * 10
    assert Counter(turns.next({"a", "b"}) for _ in range(10)) == {"a": 5, "b": 5}


def test_weights_may_change_on_the_way() -> None:
    turns = WeightedTurns({"a": 1.0, "b": 0.0})
    assert {turns.next("ab") for _ in range(5)} == {"a"}
    turns.change({"a": 0.0, "b": 1.0})
    assert {turns.next("ab") for _ in range(5)} == {"b"}


def test_nobody_with_a_weight_is_nobody() -> None:
    assert WeightedTurns({"a": 0.0}).next({"a"}) is None
    assert WeightedTurns({"a": 1.0}).next(()) is None
