"""The lines that Lambda itself writes into a function's log, and its words for what went wrong.

As recorded of the service: ``START``, ``END`` and ``REPORT`` around an invocation's own output,
``INIT_REPORT`` for a start that failed; the billed duration includes the start's (since August
2025). Pure.
"""

from __future__ import annotations

import json
import math
import signal
from dataclasses import dataclass
from datetime import datetime

from mlops.ports import JobOutcome

VERSION = "$LATEST"
TAIL_BYTES = 4096
"""``LogResult`` has the last 4 KB (botocore lambda ``InvocationResponse``)."""

TIMED_OUT = "Sandbox.Timedout"
OUT_OF_MEMORY = "Runtime.OutOfMemory"
EXITED = "Runtime.ExitError"
NOT_STARTED = "Runtime.InvalidEntrypoint"


@dataclass(frozen=True, slots=True)
class Report:
    """What the REPORT line of an invocation says."""

    request_id: str
    duration_ms: float
    memory_megabytes: int
    used_megabytes: int | None
    init_ms: float | None = None
    status: str | None = None
    """``timeout`` or ``error``; None where all went well, or the handler itself failed."""
    error_type: str | None = None


def start_line(request_id: str) -> str:
    return f"START RequestId: {request_id} Version: {VERSION}\n"


def end_lines(report: Report) -> str:
    billed = math.ceil(report.duration_ms + (report.init_ms or 0.0))
    parts = [
        f"REPORT RequestId: {report.request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {billed} ms",
        f"Memory Size: {report.memory_megabytes} MB",
    ]
    if report.used_megabytes is not None:
        parts.append(f"Max Memory Used: {report.used_megabytes} MB")
    if report.init_ms is not None:
        parts.append(f"Init Duration: {report.init_ms:.2f} ms")
    if report.status is not None:
        parts.append(f"Status: {report.status}")
    if report.error_type is not None:
        parts.append(f"Error Type: {report.error_type}")
    line = "\t".join(parts)
    return f"END RequestId: {report.request_id}\n{line}\t\n"


def init_report_line(init_ms: float, phase: str, status: str, error_type: str | None = None) -> str:
    parts = [f"INIT_REPORT Init Duration: {init_ms:.2f} ms", f"Phase: {phase}", f"Status: {status}"]
    if error_type is not None:
        parts.append(f"Error Type: {error_type}")
    return "\t".join(parts) + "\n"


def timeout_line(request_id: str, timeout_seconds: float, now: datetime) -> str:
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
    return f"{moment} {request_id} Task timed out after {timeout_seconds:.2f} seconds\n\n"


def exit_lines(message: str, error_type: str) -> str:
    return f"{message}\n{error_type}\n"


def timeout_message(request_id: str, timeout_seconds: float) -> str:
    return f"RequestId: {request_id} Error: Task timed out after {timeout_seconds:.2f} seconds"


def exit_message(request_id: str, outcome: JobOutcome | None) -> str:
    return f"RequestId: {request_id} Error: {_exit_text(outcome)}"


def error_payload(error_type: str, message: str) -> bytes:
    """What the client gets of an error that no handler reported."""
    return json.dumps({"errorType": error_type, "errorMessage": message}).encode()


# As Go's syscall.Signal names them, in which the service's own messages are written.
_SIGNALS = {
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
}


def _exit_text(outcome: JobOutcome | None) -> str:
    if outcome is None or outcome.exit_status == 0:
        return "Runtime exited without providing a reason"
    number = outcome.exit_status - 128
    if number in _SIGNALS:
        return f"Runtime exited with error: signal: {_SIGNALS[signal.Signals(number)]}"
    return f"Runtime exited with error: exit status {outcome.exit_status}"
