"""Making room in a state folder: a plan that can be looked at, and the act.

What an execution leaves beside its results are its steps' job folders, kept after a failure so
that a person can look into them, and caches; a job without an execution leaves its own. Records,
logs, reports and objects are results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlops import app
from mlops.errors import UsageError
from mlops.runtimes.layout import remove_tree
from mlops.settings import Settings

JOB_FOLDERS = ("ml", "inputs")
"""A job's ``/opt/ml``, and what was made ready for it."""
MARKS = ("gateway.json", "gateway.lock", "state.db")
"""Files of which a state folder has at least one: nothing else is ever removed whole."""


@dataclass(frozen=True, slots=True)
class CleanPlan:
    """Folders to remove, and how much they hold in bytes."""

    folders: tuple[Path, ...]
    size: int
    everything: bool


def plan_clean(settings: Settings, *, everything: bool = False) -> CleanPlan:
    """Say what would be removed.

    Raises:
        UsageError: `everything` of a folder that is no state folder.
    """
    store = settings.store
    if not store.is_dir():
        return CleanPlan((), 0, everything)
    if everything:
        if not any((store / mark).exists() for mark in MARKS):
            raise UsageError(
                "This folder was not made by mlops, it is left alone",
                where=str(store),
                next_step="give the state folder: mlops clean --all --store DIR",
            )
        return CleanPlan((store,), _size(store), everything)
    folders = tuple(_job_folders(settings))
    return CleanPlan(folders, sum(_size(folder) for folder in folders), everything)


def carry_out_clean(settings: Settings, plan: CleanPlan) -> None:
    """Remove what the plan names; with everything, gateway and servers are ended first.

    Raises:
        MlopsError: a server cannot be ended; nothing has been removed then.
    """
    if plan.everything:
        app.stop_gateway(settings)
        app.end_servers(settings)
    for folder in plan.folders:
        remove_tree(folder)


def _job_folders(settings: Settings) -> Iterator[Path]:
    running = _running_ids(settings)
    for execution in sorted(settings.store.glob("executions/*")):
        if execution.name in running or not execution.is_dir():
            continue
        for step in sorted(execution.iterdir()):
            yield from _folders_of_jobs(step)
    jobs = _running_jobs(settings)
    for job in sorted(settings.store.glob("jobs/*/*")):
        if job.is_dir() and f"{job.parent.name}/{job.name}" not in jobs:
            yield from _folders_of_jobs(job)
    cache = settings.store / "cache"
    if cache.is_dir() and not running and not jobs:  # a job may be reading what is installed there
        yield cache


def _folders_of_jobs(step: Path) -> Iterator[Path]:
    """What a step's job, its further attempts and its several hosts have left."""
    yield from (folder for name in JOB_FOLDERS if (folder := step / name).is_dir())
    for pattern in ("algo-*", "attempt-*"):
        for part in sorted(step.glob(pattern)):
            yield from _folders_of_jobs(part)


def _running_ids(settings: Settings) -> set[str]:
    health = app.gateway_health(settings)
    arns = (health or {}).get("executions") or []
    return {str(arn).rpartition("/")[2] for arn in arns}


def _running_jobs(settings: Settings) -> set[str]:
    """Jobs without an execution, as ``training-job/name``."""
    health = app.gateway_health(settings)
    return set((health or {}).get("jobs") or ())


def _size(folder: Path) -> int:
    return sum(
        entry.lstat().st_size
        for entry in folder.rglob("*")
        if entry.is_file() and not entry.is_symlink()
    )
