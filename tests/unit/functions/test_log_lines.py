"""Lambda's own lines and words, as recorded of the service."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mlops.functions.log_lines import (
    Report,
    end_lines,
    error_payload,
    exit_message,
    init_report_line,
    start_line,
    timeout_line,
    timeout_message,
)
from mlops.ports import JobOutcome


def test_the_start() -> None:
    assert start_line("r") == "START RequestId: r Version: $LATEST\n"


def test_the_end_of_a_warm_invocation() -> None:
    assert end_lines(Report("r", 1.234, 128, 36)) == (
        "END RequestId: r\n"
        "REPORT RequestId: r\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\t\n"
    )


def test_the_end_of_a_cold_one_bills_the_start() -> None:
    text = end_lines(Report("r", 1.5, 128, None, init_ms=400.2))
    assert "Billed Duration: 402 ms\tMemory Size: 128 MB\tInit Duration: 400.20 ms\t\n" in text


def test_the_end_of_a_failure() -> None:
    text = end_lines(Report("r", 5, 128, 9, status="error", error_type="Runtime.ExitError"))
    assert text.endswith("Status: error\tError Type: Runtime.ExitError\t\n")


def test_a_failed_start() -> None:
    assert init_report_line(12.345, "init", "timeout") == (
        "INIT_REPORT Init Duration: 12.35 ms\tPhase: init\tStatus: timeout\n"
    )
    assert init_report_line(1, "invoke", "error", "X").endswith("Status: error\tError Type: X\n")


def test_a_timeout() -> None:
    now = datetime(2026, 3, 1, 12, 0, 1, 2000, UTC)
    assert (
        timeout_line("r", 3, now)
        == "2026-03-01T12:00:01.002Z r Task timed out after 3.00 seconds\n\n"
    )
    assert timeout_message("r", 1) == "RequestId: r Error: Task timed out after 1.00 seconds"


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (JobOutcome(1), "Runtime exited with error: exit status 1"),
        (JobOutcome(0), "Runtime exited without providing a reason"),
        (None, "Runtime exited without providing a reason"),
        (JobOutcome(137), "Runtime exited with error: signal: killed"),
        (JobOutcome(139), "Runtime exited with error: signal: segmentation fault"),
        (JobOutcome(255), "Runtime exited with error: exit status 255"),
    ],
)
def test_how_a_runtime_ended(outcome: JobOutcome | None, text: str) -> None:
    assert exit_message("r", outcome) == f"RequestId: r Error: {text}"


def test_an_error_that_no_handler_reported() -> None:
    assert json.loads(error_payload("T", "m")) == {"errorType": "T", "errorMessage": "m"}
