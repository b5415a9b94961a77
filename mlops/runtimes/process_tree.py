"""Finding a job's processes by the mark in their environment, when their supervisor has gone."""

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
