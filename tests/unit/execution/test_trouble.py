"""Whatever goes wrong, the step and the execution end with a reason, and the driver lives."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops.errors import DiskFull, ExitStatusLost, RuntimeUnavailable, ServiceError
from mlops.ports import ExecutionStatus, FoundJob, JobOutcome, JobSpec, StepStatus
from mlops.runtimes.fake import FakeRuntime, Script
from mlops.stores.state import SqliteStateStore

from .house import Build, House, processing, training


class BrokenJob:
    """A job that ends in an error of the runtime."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self.stops: list[float] = []

    def wait(self, timeout: float | None = None) -> JobOutcome | None:
        raise self._error

    def stop(self, grace_seconds: float = 10.0) -> None:
        self.stops.append(grace_seconds)


class BrokenRuntime:
    """A runtime whose jobs cannot be started, or break."""

    name = "broken"
    gateway_host = "127.0.0.1"

    def __init__(
        self, *, at_start: Exception | None = None, later: Exception | None = None
    ) -> None:
        self._at_start = at_start
        self.job = BrokenJob(later or AssertionError())

    def start(self, job: JobSpec) -> BrokenJob:
        if self._at_start is not None:
            raise self._at_start
        return self.job

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        raise RuntimeUnavailable("The Docker engine does not answer")

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        raise RuntimeUnavailable("The Docker engine does not answer")


def reason(house: House) -> str:
    execution = house.run(processing())
    assert execution.status is ExecutionStatus.FAILED
    step = house.steps(execution)["Process"]
    assert step.status is StepStatus.FAILED
    assert step.ended_at is not None
    return step.failure_reason or ""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeUnavailable("no engine", next_step="start it"), "InternalServerError: no engine"),
        (ZeroDivisionError("a defect"), "InternalServerError: ZeroDivisionError: a defect"),
        (OSError(errno.ENOSPC, "No space left"), "InternalServerError: The disk is full"),
        (DiskFull("The disk is full", next_step="free some"), "next:  free some"),
    ],
)
def test_errors_at_the_start_of_a_job_end_the_step(
    build: Build, error: Exception, words: str
) -> None:
    assert words in reason(build(BrokenRuntime(at_start=error)))


def test_a_lost_exit_status_is_no_success_and_nothing_stays_behind(build: Build) -> None:
    runtime = BrokenRuntime(later=ExitStatusLost("The container is gone"))
    assert reason(build(runtime)) == "InternalServerError: The container is gone"
    assert runtime.job.stops == [0.0]


def test_a_defect_leaves_its_traceback_in_the_log(build: Build) -> None:
    class Defective(FakeRuntime):
        @property
        def gateway_host(self) -> str:  # type: ignore[override]  # a property is what the port asks for
            raise ZeroDivisionError("oops")

    house = build(Defective())
    execution = house.run(processing())
    step = house.steps(execution)["Process"]
    assert step.failure_reason == "InternalServerError: ZeroDivisionError: oops"
    assert "gateway_host" in (house.settings.store / (step.log or "")).read_text()


def test_a_folder_that_cannot_be_made_ends_the_step(build: Build) -> None:
    house = build()
    (house.settings.store / "executions").write_text("in the way")
    assert "executions" in reason(house)


class Refusing(SqliteStateStore):
    """A state store on a disk that is full for a while."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.refuse_from = 10**9
        self.refuse_to = 10**9
        self.transactions = 0
        self.refused = threading.Event()

    def transaction(self) -> AbstractContextManager[None]:
        if threading.current_thread().name.startswith("execution "):
            return self._counted()
        return super().transaction()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.transactions += self._depth == 0
        if self.refuse_from <= self.transactions < self.refuse_to:
            self.refused.set()
            raise DiskFull("The disk is full: the state cannot be written")
        with super().transaction():
            yield


def test_the_last_record_is_written_into_the_reserved_room(build: Build, tmp_path: Path) -> None:
    """Room is kept from the start, and given up for the record that does not fit."""
    reserve = tmp_path / ".mlops" / "reserve"
    state = Refusing(tmp_path / "refusing.db")
    house = build(Script(1, "No space left on device\n", seconds=0.05), state=state)
    execution = house.start(processing())
    assert reserve.stat().st_size == 1024 * 1024
    state.refuse_from, state.refuse_to = state.transactions + 1, state.transactions + 2
    record = house.end_of(execution)
    assert record.failure_reason == "Step failure: One or multiple steps failed."
    assert "No space left" in (house.steps(execution)["Process"].failure_reason or "")
    assert state.refused.is_set()
    assert not reserve.exists()
    house.run(processing())
    assert reserve.exists()


def test_without_room_for_its_records_nothing_starts(build: Build) -> None:
    house = build()
    house.settings.store.joinpath("reserve").symlink_to("/dev/full/not/there")
    with pytest.raises(DiskFull, match="nothing can be run"):
        house.start(processing())
    assert not house.state.list_executions()


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_state_store_that_refuses_ends_the_execution_once_it_accepts(
    build: Build, tmp_path: Path, moment: int
) -> None:
    state = Refusing(tmp_path / "refusing.db")
    state.refuse_from, state.refuse_to = moment, moment + 4
    house = build(Script(seconds=0.05), state=state)
    execution = house.run(processing("A"), processing("B", DependsOn=["A"]))
    if not state.refused.is_set():
        pytest.skip("the execution needed fewer turns this time")
    record = house.state.get_execution(execution.arn)
    assert record is not None
    assert record.status is ExecutionStatus.FAILED
    assert "The disk is full" in (record.failure_reason or "")
    assert all(step.status.ended for step in house.steps(execution).values())
    assert house.manager.active() == 0


def test_a_store_that_never_accepts_does_not_keep_the_manager_from_closing(
    build: Build, tmp_path: Path
) -> None:
    state = Refusing(tmp_path / "refusing.db")
    house = build(Script(seconds=0.05), state=state)
    execution = house.start(processing())
    state.refuse_from = 0
    assert state.refused.wait(10)
    assert house.manager.wait(execution.arn, 0.05) is None
    house.manager.close()
    state.refuse_from = 10**9
    # What could not be written is found by the next gateway.
    assert [each.arn for each in state.unfinished_executions()] == [execution.arn]


def test_an_execution_whose_pipeline_is_deleted_ends(build: Build) -> None:
    house = build(Script(seconds=0.1))
    execution = house.start(processing())
    house.state.delete_pipeline("p")
    with pytest.raises(ServiceError, match="does not exist"):
        house.manager.wait(execution.arn, 10)
    assert house.manager.active() == 0
    assert house.state.get_execution(execution.arn) is None


# --- after a gateway that died ---


def dead(house: House, *, stopping: bool = False) -> Any:
    """An execution as a killed gateway leaves it: the record says it runs, and nobody runs it."""
    from dataclasses import replace

    gate = threading.Event()
    execution = house.start(processing("Done"), training("Runs", DependsOn=["Done"]))
    deadline = time.monotonic() + 20
    while "Runs" not in house.steps(execution):
        assert time.monotonic() < deadline
        gate.wait(0.002)
    step = house.steps(execution)["Runs"]
    house.manager.stop(execution.arn)
    house.end_of(execution)
    status = ExecutionStatus.STOPPING if stopping else ExecutionStatus.EXECUTING
    house.state.put_execution(replace(execution, status=status))
    house.state.put_step(replace(step, status=StepStatus.EXECUTING, ended_at=None))
    return execution


def slow_training() -> FakeRuntime:
    return FakeRuntime({"*-Runs-*": Script(seconds=30), "*": Script()})


def test_executions_are_recorded_even_when_their_jobs_cannot_be_looked_for(
    build: Build, tmp_path: Path
) -> None:
    execution = dead(build(slow_training()))
    house = build(BrokenRuntime(), state=SqliteStateStore(tmp_path / ".mlops" / "state.db"))
    (found,) = house.manager.recover()
    assert found.arn == execution.arn
    recovered = house.end_of(found)
    assert recovered.status is ExecutionStatus.FAILED
    assert "The Docker engine does not answer" in (recovered.failure_reason or "")
    assert f"executions resume {execution.id}" in (recovered.failure_reason or "")
    assert all(step.status.ended for step in house.steps(execution).values())


def test_a_stop_is_kept_even_when_nothing_can_be_taken_up(build: Build, tmp_path: Path) -> None:
    dead(build(slow_training()), stopping=True)
    house = build(BrokenRuntime(), state=SqliteStateStore(tmp_path / ".mlops" / "state.db"))
    (found,) = house.manager.recover()
    assert house.end_of(found).status is ExecutionStatus.STOPPED
