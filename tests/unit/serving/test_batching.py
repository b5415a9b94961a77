"""Requests that wait are evaluated together, and each gets its own rows back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import batching
from serving.batching import Batcher


class Loop:
    """An event loop's call_soon, run by hand."""

    def __init__(self) -> None:
        self.calls: deque[Callable[[], None]] = deque()

    def call_soon(self, call: Callable[[], None]) -> None:
        self.calls.append(call)

    def run(self) -> None:
        while self.calls:
            self.calls.popleft()()


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20), most=st.integers(1, 12))
def test_each_request_gets_the_values_of_its_rows(sizes: list[int], most: int) -> None:
    loop, evaluated = Loop(), []

    def predict(columns: list[list[Any]]) -> list[float]:
        evaluated.append(len(columns[0]))
        return [number * 10 + len(word) for number, word in zip(*columns, strict=True)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "MOST_ROWS", most)
        batcher, got = Batcher(predict, loop.call_soon), {}
        for request, size in enumerate(sizes):
            columns = [[request * 100.0 + row for row in range(size)], ["ab"] * size]
            batcher.add(columns, lambda values, request=request: got.update({request: values}))
        loop.run()
    assert got == {
        request: [(request * 100.0 + row) * 10 + 2 for row in range(size)]
        for request, size in enumerate(sizes)
    }
    assert sum(evaluated) == sum(sizes)
    assert all(rows <= max(most, *sizes) for rows in evaluated)


def test_requests_that_wait_share_an_evaluation() -> None:
    loop, evaluated = Loop(), []

    def predict(columns: list[list[float]]) -> list[float]:
        evaluated.append(columns)
        return columns[0]

    batcher = Batcher(predict, loop.call_soon)
    for value in (1.0, 2.0, 3.0):
        batcher.add([[value]], lambda values: None)
    loop.run()
    assert evaluated == [[[1.0, 2.0, 3.0]]]


def test_a_failing_model_fails_its_requests_and_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    loop, got = Loop(), []

    def predict(columns: list[list[float]]) -> list[float]:
        if 0.0 in columns[0]:
            raise ValueError("zero")
        return columns[0]

    batcher = Batcher(predict, loop.call_soon)
    batcher.add([[0.0]], got.append)
    loop.run()
    batcher.add([[1.0]], got.append)
    loop.run()
    assert got == [None, [1.0]]
    assert "ValueError: zero" in capsys.readouterr().err
