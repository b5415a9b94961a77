"""Which log groups and streams there are: the files below the state folder, under AWS's names.

The names are those of "CloudWatch Logs for Amazon SageMaker AI" (developer guide):
``/aws/sagemaker/TrainingJobs`` with ``<job>/algo-<instance>-<epoch>``, ``ProcessingJobs`` and
``TransformJobs`` likewise, ``/aws/sagemaker/Endpoints/<endpoint>`` with ``<variant>/<instance>``;
and Lambda's ``/aws/lambda/<function>`` with ``<yyyy>/<mm>/<dd>/[$LATEST]<environment>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.ports import StateStore
from mlops.services.jobs import JOB_KINDS, JobKind, KnownJob, KnownJobs

_JOBS = "/aws/sagemaker/"
_ENDPOINTS = "/aws/sagemaker/Endpoints/"
_FUNCTIONS = "/aws/lambda/"
_ENDED = ("Completed", "Failed", "Stopped")
_FUNCTION_LOG = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})T[\d.\-]+-(?P<worker>[0-9a-f]+)\.log")


@dataclass(frozen=True, slots=True)
class LogStream:
    """One log file, under its name in CloudWatch."""

    name: str
    file: Path
    ended: bool = False
    """Nobody writes to it any more: its last line is whole, with or without an end."""

    @property
    def created_at(self) -> int:
        """Epoch milliseconds of the earliest moment that the file itself tells."""
        told = self.file.stat()
        return int(min(told.st_ctime, told.st_mtime) * 1000)


class LogStreams:
    """The streams of a state folder. A file that is not there yet is no stream."""

    def __init__(self, state: StateStore, store: Path) -> None:
        self._store = store
        self._jobs = KnownJobs(state)
        self._kinds = {f"{_JOBS}{kind.shape}s": kind for kind in JOB_KINDS}

    def groups(self) -> Sequence[str]:
        """The names of the groups that have a stream, sorted."""
        found = [name for name in self._kinds if next(self._streams(name), None)]
        found += [_ENDPOINTS + folder.name for folder in self._folders("endpoints")]
        found += [_FUNCTIONS + folder.name for folder in self._folders("functions")]
        return sorted(name for name in found if next(self._streams(name), None))

    def of(self, group: str) -> Sequence[LogStream] | None:
        """A group's streams in the order of their names; None where there is no such group."""
        found = sorted(self._streams(group), key=lambda stream: stream.name)
        return found or None

    def find(self, group: str, name: str) -> LogStream | None:
        kind = self._kinds.get(group)
        if kind is not None:
            job = self._jobs.find(kind, name.partition("/")[0])
            streams = self._of_job(kind, job) if job is not None else iter(())
        else:
            streams = self._streams(group)
        return next((stream for stream in streams if stream.name == name), None)

    def _streams(self, group: str) -> Iterator[LogStream]:
        kind = self._kinds.get(group)
        if kind is not None:
            for job in self._jobs.all(kind):
                yield from self._of_job(kind, job)
        elif group.startswith(_ENDPOINTS):
            yield from self._of_endpoint(group.removeprefix(_ENDPOINTS))
        elif group.startswith(_FUNCTIONS):
            yield from self._of_function(group.removeprefix(_FUNCTIONS))

    def _of_job(self, kind: JobKind, job: KnownJob) -> Iterator[LogStream]:
        if job.log is None:
            return
        log = self._store / job.log
        ended = job.described.get(f"{kind.shape}Status") in _ENDED
        epoch = int(job.created_at.timestamp())
        several = sorted(log.parent.glob(f"algo-*/{log.name}"))
        for file in several or [log]:
            host = file.parent.name if several else "algo-1"
            if file.is_file():
                yield LogStream(f"{job.name}/{host}-{epoch}", file, ended)

    def _of_endpoint(self, name: str) -> Iterator[LogStream]:
        for folder in self._folders(f"endpoints/{name}"):
            log = folder / "log.txt"
            if log.is_file():
                variant, _, server = folder.name.removeprefix(f"{name}-").rpartition("-")
                yield LogStream(f"{variant}/{server}", log)

    def _of_function(self, name: str) -> Iterator[LogStream]:
        folder = self._below("functions", name)
        for file in folder.glob("logs/*.log") if folder else ():
            match = _FUNCTION_LOG.fullmatch(file.name)
            if match:
                date = match["date"].replace("-", "/")
                yield LogStream(f"{date}/[$LATEST]{match['worker']}", file)

    def _folders(self, name: str) -> Sequence[Path]:
        folder = self._below(*name.split("/", 1))
        if folder is None or not folder.is_dir():
            return []
        return [each for each in folder.iterdir() if each.is_dir()]

    def _below(self, kind: str, name: str = "") -> Path | None:
        """A folder of the state folder; None for a name that would lead out of it."""
        if "/" in name or name in (".", ".."):
            return None
        return self._store / kind / name if name else self._store / kind
