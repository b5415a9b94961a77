"""What a job needs of whoever runs it: a step of an execution, or a person who asked for the job.

``StepRun`` is one such caller, ``direct_jobs.DirectRun`` the other. The executors of jobs and their
containers know no more of either than this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from mlops.execution.step_run import Parts
from mlops.execution.stopping import StopSignal
from mlops.ports import JsonObject, RunningJob


class JobPast(Protocol):
    """What an earlier gateway began of a job."""

    @property
    def started_at(self) -> datetime: ...

    @property
    def described(self) -> JsonObject:
        """The job's Describe answer of then, which holds its request."""
        ...

    @property
    def jobs(self) -> Mapping[str, RunningJob]:
        """Its containers that were found, by their names."""
        ...


class JobRun(Protocol):
    """One run of one job."""

    @property
    def parts(self) -> Parts: ...

    @property
    def folder(self) -> Path:
        """Where the run's files are: ``ml/`` (the job's ``/opt/ml``) and ``log.txt``."""
        ...

    @property
    def log(self) -> Path: ...

    @property
    def labels(self) -> dict[str, str]:
        """By which a later gateway finds the containers again."""
        ...

    @property
    def stop(self) -> StopSignal: ...

    @property
    def past(self) -> JobPast | None: ...

    @property
    def afterwards(self) -> list[Callable[[], None]]:
        """Tidying up, to be done once the job's end is on disk."""
        ...

    @property
    def how_to_repeat(self) -> str:
        """What a person does to have it run again, a whole clause."""
        ...
