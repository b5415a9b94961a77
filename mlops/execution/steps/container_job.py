"""Jobs that are containers with an end: what Processing and Training jobs have in common.

``carry_out`` holds the order of things; a kind of job fills in the hooks below it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from mlops.engine import exception_type
from mlops.execution.cluster import Cluster, Host
from mlops.execution.container import Container, ContainerEnd, ContainerPlan
from mlops.execution.container_group import ContainerGroup, container_for
from mlops.execution.failures import StepFailure, full_disk_hint, job_failure_reason, reason_for
from mlops.execution.job_run import JobRun
from mlops.execution.steps.job import Job, JobExecutor, JobStatus, JobView, shortened
from mlops.execution.stopping import StepStopped
from mlops.log_tail import last_lines
from mlops.ports import JsonObject

TAIL_LINES_IN_REASON = 5


class ContainerJobExecutor(JobExecutor):
    """Runs a kind of job whose containers end by themselves."""

    message_file: ClassVar[str]
    """Where the container leaves text about its end, below ``/opt/ml``."""

    def carry_out(self, run: JobRun, job: Job) -> JobView:
        """Run the job's containers to the end and keep what they made; raises nothing."""
        now = run.parts.clock.now
        hosts = self._cluster(job.request).hosts
        container = container_for(run, {host.name: self._plan(run, job, host) for host in hosts})
        end = None
        try:
            end = container.run()
            view = self._conclude(run, job, container, end)
        except StepStopped:
            return JobView(JobStatus.STOPPED, now())
        except Exception as error:  # noqa: BLE001 - the job's Describe must say that it failed
            return JobView(
                JobStatus.FAILED,
                now(),
                end,
                shortened(reason_for(error)),
                exception_type=exception_type(error),
            )
        if view.status is JobStatus.COMPLETED:
            run.afterwards.append(container.discard)  # a failed job's stays: it is the evidence
        return view

    def _conclude(
        self, run: JobRun, job: Job, container: Container | ContainerGroup, end: ContainerEnd
    ) -> JobView:
        outcome, message = end.outcome, container.read_message(self.message_file)
        failed = outcome.exit_status != 0
        stopped = run.stop.requested and (outcome.stopped or failed)
        if failed and not stopped and not end.timed_out:
            tail = last_lines(container.log, TAIL_LINES_IN_REASON)
            said = self._explained(job.request, message, tail)
            reason = job_failure_reason(outcome, said, tail) + full_disk_hint(run.folder)
            reason = _with_sync_problem(reason, container)
            return JobView(JobStatus.FAILED, end.ended_at, end, reason, message)
        container.sync()
        container.gather()
        if stopped or end.timed_out:
            self._keep_stopped(run, job, container)
            limit = None if stopped else _time_limit_reason(job, container.maximum_seconds)
            return JobView(JobStatus.STOPPED, end.ended_at, end, limit, message)
        self._keep(run, job, container)
        return JobView(JobStatus.COMPLETED, end.ended_at, end, None, message)

    # --- hooks ---

    @abstractmethod
    def _cluster(self, request: JsonObject) -> Cluster:
        """The instances of the job."""

    @abstractmethod
    def _plan(self, run: JobRun, job: Job, host: Host) -> ContainerPlan:
        """The container on one of them."""

    @abstractmethod
    def _keep(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        """Store what a job that succeeded made."""

    @abstractmethod
    def _keep_stopped(self, run: JobRun, job: Job, container: Container | ContainerGroup) -> None:
        """Store what the service stores of a job that was stopped."""

    def _explained(self, request: JsonObject, said: str, log_tail: Sequence[str]) -> str:
        """What a failed job's container `said` about its end, or words that help more."""
        return said


def _time_limit_reason(job: Job, seconds: int) -> str:
    return (
        f"ClientError: MaxRuntimeExceeded: {job.name} was stopped because it ran longer than its "
        f"StoppingCondition's MaxRuntimeInSeconds of {seconds}"
    )


def _with_sync_problem(reason: str, container: Container | ContainerGroup) -> str:
    """Save what a failed job has synced; that this failed, too, is the smaller news."""
    try:
        container.sync()
    except StepFailure as error:
        return shortened(f"{reason} (besides: {error})")
    return reason
