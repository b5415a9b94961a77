"""The containers of a job of several instances, with the face of one `Container`.

Each has an ``/opt/ml`` of its own at ``<step>/<host>/ml``. What they leave as one result is put
together in the first one's folder: of files with the same name in several, the first host's stays
(the service leaves it open: "they should ensure no file/directory names clash").
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mlops.errors import ExitStatusLost
from mlops.execution.container import Container, ContainerEnd, ContainerPlan, run_to_end, taken_up
from mlops.execution.failures import StepFailure
from mlops.execution.host_logs import merged_logs
from mlops.execution.job_group import JobGroup
from mlops.execution.job_run import JobRun
from mlops.ports import Mount, Peers, RunningJob


class ContainerGroup:
    """Takes the same part as `Container`. `plans` are by host name, the first one first."""

    def __init__(self, run: JobRun, plans: Mapping[str, ContainerPlan]) -> None:
        self._run = run
        self._hosts = tuple(plans)
        self._plans = plans
        self._first = plans[self._hosts[0]]
        network = f"mlops-{self._first.name}"
        self._members = {
            host: Container(run, plan, Peers(network, host, self._hosts))
            for host, plan in plans.items()
        }
        self._group: JobGroup | None = None

    @property
    def folder(self) -> Path:
        return self._leader.folder

    @property
    def log(self) -> Path:
        """The log of the host that failed; else the log of all."""
        failed = None if self._group is None else self._group.failed
        return self._run.log if failed is None else self._members[failed].log

    @property
    def maximum_seconds(self) -> int:
        return self._first.maximum_seconds

    @property
    def _leader(self) -> Container:
        return self._members[self._hosts[0]]

    def place(self, container_path: str) -> Path:
        return self._leader.place(container_path)

    def run(self) -> ContainerEnd:
        """Fill the folders and run the containers to the end of all."""
        logs = {host: each.log for host, each in self._members.items()}
        syncs = [sync for each in self._members.values() for sync in each.syncs]
        try:
            found = self._find()
            if found is not None:
                self._run.log.unlink(missing_ok=True)  # it is put together anew
                with merged_logs(logs, self._run.log):
                    return taken_up(self._run, found, self.maximum_seconds, syncs)
            mounts = {host: each.prepare() for host, each in self._members.items()}
            with merged_logs(logs, self._run.log):
                return run_to_end(
                    self._run, lambda: self._start(mounts), self.maximum_seconds, syncs
                )
        finally:
            for each in self._members.values():
                each.tidy()

    def _find(self) -> JobGroup | None:
        """What an earlier gateway left of the job; None where nothing of it had started."""
        found = {host: each.find() for host, each in self._members.items()}
        jobs = {host: job for host, job in found.items() if job is not None}
        if not jobs:
            return None
        if len(jobs) < len(found):
            JobGroup(jobs).stop(0.0)
            raise ExitStatusLost(
                f"The gateway was killed when {len(jobs)} of the {len(found)} instances of job "
                f"{self._first.name} had been started",
                next_step=self._run.how_to_repeat,
            )
        self._group = JobGroup(jobs)
        return self._group

    def _start(self, mounts: Mapping[str, tuple[Mount, ...]]) -> JobGroup:
        jobs: dict[str, RunningJob] = {}
        try:
            for host, each in self._members.items():
                jobs[host] = each.start(mounts[host])
        except BaseException:
            JobGroup(jobs).stop(0.0)
            raise
        self._group = JobGroup(jobs)
        return self._group

    def sync(self) -> None:
        for each in self._members.values():
            each.sync()

    def gather(self) -> None:
        """Put what the instances leave as one result together in the first one's folder.

        Raises:
            StepFailure: an instance made its result folder a link.
        """
        for path in self._first.results:
            for host in self._hosts[1:]:
                member = self._members[host]
                source, target = member.place(path), self._leader.place(path)
                if source.is_dir():
                    _check_real(source, member.folder, path, host)
                    target.mkdir(parents=True, exist_ok=True)
                    _check_real(target, self._leader.folder, path, self._hosts[0])
                    _merge(source, target)

    def holds(self, name: str) -> bool:
        return self._leader.holds(name)

    def read_message(self, name: str) -> str:
        """What the host that failed left about itself, else the first that left anything."""
        failed = None if self._group is None else self._group.failed
        hosts = self._hosts if failed is None else (failed, *self._hosts)
        messages = (self._members[host].read_message(name) for host in hosts)
        return next((message for message in messages if message), "")

    def discard(self) -> None:
        for each in self._members.values():
            each.discard()


def container_for(run: JobRun, plans: Mapping[str, ContainerPlan]) -> Container | ContainerGroup:
    """The container of a job, or the group of them; `plans` are by host name."""
    if len(plans) > 1:
        return ContainerGroup(run, plans)
    (plan,) = plans.values()
    return Container(run, plan)


def _check_real(folder: Path, base: Path, path: str, host: str) -> None:
    if folder.resolve() != base.resolve() / folder.relative_to(base):
        raise StepFailure(
            f"ClientError: Artifact upload failed: {path} of {host} has become a symbolic link; "
            "the results of several instances cannot be put together"
        )


def _merge(source: Path, target: Path) -> None:
    for entry in os.scandir(source):
        place = target / entry.name
        if not os.path.lexists(place):
            Path(entry.path).rename(place)
        elif entry.is_dir(follow_symlinks=False) and place.is_dir() and not place.is_symlink():
            _merge(Path(entry.path), place)
