"""What a log says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.execution.logs import final_metrics, last_detail, metric_definitions
from mlops.log_tail import last_lines


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("nothing\n", None),
        ("detail: first\ndetail: mse 0.01 · r² 0.98\nafter\n", "mse 0.01 · r² 0.98"),
        ("detail: without a line end", "without a line end"),
        ("detail: only\n", "only"),
        ("in detail: not at the start\n", None),
        ("detail: windows\r\n", "windows"),
    ],
)
def test_the_detail_is_the_last_line_that_says_so(
    log: Path, text: str, expected: str | None
) -> None:
    log.write_text(text, newline="")
    assert last_detail(log) == expected


def test_without_a_log_there_is_nothing(log: Path) -> None:
    assert last_detail(log) is None
    assert last_lines(log) == []
    assert final_metrics(log, metric_definitions({}), 0.0) == []


def test_last_lines_are_the_last_with_something_in_them(log: Path) -> None:
    log.write_bytes(b"one\n\ntwo\n10%\r50%\r100%\r\n\xff\n   \n")
    assert last_lines(log) == ["one", "two", "100%", "�"]
    assert last_lines(log, 2) == ["100%", "�"]


def test_a_huge_log_is_not_read_whole(log: Path) -> None:
    log.write_bytes(b"x" * 10_000_000 + b"\nthe end\n")
    assert last_lines(log)[-1] == "the end"
    assert len(last_lines(log)[0]) < 100_000


def test_the_last_number_of_a_metric_counts(log: Path) -> None:
    log.write_text("loss=3\nloss=1.5e-2 loss=0.01\nloss=oops\nacc=1\n")
    definitions = metric_definitions(
        {
            "MetricDefinitions": [
                {"Name": "loss", "Regex": r"loss=(\S+)"},
                {"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"},
            ]
        }
    )
    assert final_metrics(log, definitions, 7.0) == [
        {"MetricName": "loss", "Value": 0.01, "Timestamp": 7.0}
    ]
