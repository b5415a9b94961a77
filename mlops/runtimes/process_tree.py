"""A job's processes: found by the mark in their environment when their supervisor has gone, and
measured."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

JOB_VARIABLE = "MLOPS_JOB_ID"
"""In the environment of every process of a job, its supervisor included."""

_PATIENCE_SECONDS = 5.0  # SIGKILL ends a process at once, unless it waits for a disk


def marked(job_id: str) -> list[int]:
    """The living processes that carry a job's mark, of those that the caller may look into."""
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and carries(int(entry.name), job_id)
    ]


def carries(process: int, job_id: str) -> bool:
    """Whether a process lives and carries a job's mark."""
    try:
        environment = Path(f"/proc/{process}/environ").read_bytes()
    except OSError:  # it ended just now, or belongs to another user
        return False
    return f"{JOB_VARIABLE}={job_id}".encode() in environment.split(b"\0")


def kill_marked(job_id: str) -> None:
    """Kill every process that carries a job's mark, and what these start meanwhile."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (pids := marked(job_id)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def peak_megabytes(process: int) -> int | None:
    """The most memory that a process and those below it have had; None when it has gone.

    What they share counts for each: a process that forks others is said to need more than it does.
    """
    kilobytes = [_peak_kilobytes(each) for each in (process, *_below(process))]
    return None if kilobytes[0] is None else sum(filter(None, kilobytes)) // 1024


def _below(process: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # it ended just now
            for child in map(int, task.read_text().split()):
                found += [child, *_below(child)]
    return found


def _peak_kilobytes(process: int) -> int | None:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return None  # a process that has ended and is not collected yet
