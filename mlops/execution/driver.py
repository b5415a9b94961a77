"""Drives one execution: asks the engine what runs next, runs it, tells the engine what came of it.

One thread owns the execution: only it moves the engine's state and writes records. Each running
step has a thread of its own, which speaks to it through an inbox: announcements, ends, and a
person's wish to stop. The driver sleeps on the inbox; nothing polls.

    turn:  take what is in the inbox → move the engine → write all of it in one transaction
           → start the threads of the steps that became ready

What is started has been written first, so a gateway that dies at any moment leaves a record of
everything that may have run; a later gateway's driver begins with that ``History`` and takes up
what still runs.
"""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from mlops.definition import ParameterValue, PipelineDefinition, Step, StepType
from mlops.engine import ExecutionState, Retry, exception_type, next_retry, replay
from mlops.errors import MlopsError
from mlops.execution.failures import reason_for
from mlops.execution.former_jobs import former_job
from mlops.execution.journal import STEP, Change, Journal, step_event
from mlops.execution.names import new_job_name
from mlops.execution.resuming import NEW, History, Past
from mlops.execution.scope import ExecutionScope, execution_variables
from mlops.execution.step_run import Announcement, Parts, StepExecutor, StepResult, StepRun
from mlops.execution.steps import EXECUTORS, NAMED_JOBS, REPEATABLE
from mlops.execution.stopping import StepStopped, StopSignal
from mlops.log_tail import last_lines
from mlops.ports import ExecutionRecord, ExecutionStatus, JsonObject, StepRecord, StepStatus

LONGEST_RETRY_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Announced:
    step: str
    announcement: Announcement
    written: threading.Event


@dataclass(frozen=True, slots=True)
class _Retrying:
    """An attempt has failed, and the next one is waited for."""

    run: StepRun
    """The attempt to come."""
    note: str
    described: JsonObject
    """The Describe answer of the job of the attempt that has failed; empty where it made none."""


@dataclass(frozen=True, slots=True)
class _Ended:
    step: str
    result: StepResult
    at: datetime
    monotonic: float
    written: threading.Event


@dataclass(frozen=True, slots=True)
class _StopRequested:
    written: threading.Event


_Message = _Announced | _Retrying | _Ended | _StopRequested


@dataclass(slots=True)
class _Running:
    """A step that has a thread, and what its record says."""

    run: StepRun
    record: StepRecord
    started: float
    thread: threading.Thread


@dataclass(slots=True)
class _Turn:
    """What one turn of the driver decides, before any of it is done."""

    change: Change = field(default_factory=Change)
    to_launch: list[_Running] = field(default_factory=list)
    stop: bool = False
    to_acknowledge: list[threading.Event] = field(default_factory=list)


class Driver:
    """One execution's driver. ``start`` begins it; ``ended`` is set when nothing of it is left."""

    def __init__(
        self,
        execution: ExecutionRecord,
        definition: PipelineDefinition,
        parameters: Mapping[str, ParameterValue],
        parts: Parts,
        journal: Journal,
        on_end: Callable[[Driver], None],
        history: History = NEW,
        executors: Mapping[StepType, StepExecutor] = EXECUTORS,
    ) -> None:
        """Raises:
        UsageError: ``max_parallel_steps`` is below 1.
        ImpossibleMove: the history is none of this definition.
        """
        self.execution = execution
        self.ended = threading.Event()
        self._parts = parts
        self._journal = journal
        self._on_end = on_end
        self._executors = executors
        self._definition = definition
        self._history = history
        self._state = ExecutionState(
            definition,
            max_parallel_steps=execution.max_parallel_steps,
            selection=history.selection(execution),
        )
        replay(self._state, history.past(definition), stopping=history.stopping)
        self._next_position = history.next_position
        self._outputs: dict[str, JsonObject] = {
            step.name: step.outputs for step in history.steps if step.status is StepStatus.SUCCEEDED
        }
        self._scope = ExecutionScope(
            parameters, execution_variables(execution), self._outputs, parts.objects
        )
        self._inbox: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._running: dict[str, _Running] = {}
        self._threads: list[threading.Thread] = []
        self._turn = _Turn()
        self._deaf = threading.Event()
        self._broken = threading.Event()
        self._abandoned = threading.Event()

    # --- called by the manager, from any thread ---

    def start(self) -> None:
        """Begin. The execution's record has been written by the caller."""
        name = f"execution {self.execution.id}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def request_stop(self) -> None:
        """Stop the execution; returns when its record says Stopping (or it has ended)."""
        written = threading.Event()
        self._inbox.put(_StopRequested(written))
        self._wait_for(written)

    def abandon(self) -> None:
        """Do not try again and again to write the end to a store that refuses it."""
        self._abandoned.set()

    # --- the driver's own thread ---

    def _run(self) -> None:
        try:
            self._drive()
        except BaseException as error:
            _logger.exception("the driver of execution %s failed", self.execution.id)
            self._broken.set()
            self._stop_listening()
            self._give_up(error)
        finally:
            self._stop_listening()
            for thread in self._threads:
                thread.join()
            self._on_end(self)
            self.ended.set()

    def _stop_listening(self) -> None:
        self._deaf.set()
        for event in self._turn.to_acknowledge:
            event.set()  # what could not be written is not waited for
        for message in self._take_what_is_there():
            if not isinstance(message, _Retrying):
                message.written.set()

    def _drive(self) -> None:
        for record in self._history.steps:
            if not record.status.ended:
                self._take_up(record, self._turn)
        self._turn.stop = self._history.stopping
        self._carry_out(self._finish_turn())
        while not self._state.ended:
            for message in self._take_messages():
                self._take(message, self._turn)
            self._carry_out(self._finish_turn())

    def _take_messages(self) -> Iterator[_Message]:
        yield self._inbox.get()
        yield from self._take_what_is_there()

    def _take_what_is_there(self) -> Iterator[_Message]:
        with suppress(queue.Empty):
            while True:
                yield self._inbox.get_nowait()

    def _take(self, message: _Message, turn: _Turn) -> None:
        match message:
            case _Announced():
                self._take_announcement(message, turn)
            case _Retrying():
                self._take_retry(message, turn)
            case _Ended():
                self._take_end(message, turn)
            case _StopRequested():
                self._take_stop(message, turn)

    def _take_announcement(self, message: _Announced, turn: _Turn) -> None:
        running, said = self._running[message.step], message.announcement
        running.record = replace(
            running.record,
            job_name=said.job_name or running.record.job_name,
            metadata=said.metadata,
            outputs=said.outputs,
        )
        event = step_event(running.record, self._parts.clock.now(), note=said.note)
        turn.change.put_step(running.record, event if said.note else None)
        turn.to_acknowledge.append(message.written)

    def _take_retry(self, message: _Retrying, turn: _Turn) -> None:
        run = message.run
        running = self._running[run.step.name]
        running.run = run
        now = self._parts.clock.now()
        turn.change.put_former_job(former_job(running.record, message.described, now))
        running.record = replace(
            running.record,
            attempts=run.attempt,
            job_name=run.job_name if run.step.type in NAMED_JOBS else None,
            log=str(run.log.relative_to(self._parts.settings.store)),
            metadata={},
            outputs={},
        )
        event = step_event(running.record, self._parts.clock.now(), note=message.note)
        turn.change.put_step(running.record, event)

    def _take_end(self, message: _Ended, turn: _Turn) -> None:
        running, result = self._running[message.step], message.result
        wall = message.monotonic - running.started
        record = replace(
            running.record,
            status=result.status,
            ended_at=message.at,
            failure_reason=result.failure_reason,
            metadata=result.metadata or running.record.metadata,
            outputs=result.outputs or running.record.outputs,
            job_name=result.job_name or running.record.job_name,
            overhead_seconds=max(0.0, wall - result.process_seconds),
        )
        if result.cached_from is not None:
            record = replace(
                record, cache_hit=True, cached_from=result.cached_from, job_name=None, log=None
            )
        if result.cache_entry is not None:
            turn.change.cache_entries.append(result.cache_entry)
        failed = record.status is StepStatus.FAILED
        tail = last_lines(running.run.log) if failed else []
        event = step_event(record, message.at, detail=result.detail, log_tail=tail)
        turn.change.put_step(record, event)
        del self._running[message.step]
        turn.to_acknowledge.append(message.written)
        self._tell_engine(record, result)

    def _tell_engine(self, record: StepRecord, result: StepResult) -> None:
        match result.status:
            case StepStatus.SUCCEEDED:
                self._outputs[record.name] = record.outputs
                self._state.succeed(record.name, result.outcome)
            case StepStatus.STOPPED:
                self._state.stopped(record.name)
            case StepStatus.FAILED:
                self._state.fail(record.name, result.failure_reason or "")
            case _:
                raise AssertionError(f"the step {record.name} ended as {result.status}")

    def _take_stop(self, message: _StopRequested, turn: _Turn) -> None:
        turn.to_acknowledge.append(message.written)
        if self.execution.status is not ExecutionStatus.EXECUTING or self._state.ended:
            return
        self._state.stop_requested()
        turn.stop = True

    def _finish_turn(self) -> _Turn:
        """Start what is ready, and give the execution the status that follows."""
        turn = self._turn
        for step in self._state.ready():
            self._state.start(step.name)
            self._begin(step, turn)
        if turn.stop:
            for running in self._running.values():
                running.record = replace(running.record, status=StepStatus.STOPPING)
                event = step_event(running.record, self._parts.clock.now())
                turn.change.put_step(running.record, event)
        status = ExecutionStatus(self._state.status)
        if status is not self.execution.status:
            self.execution = replace(
                self.execution,
                status=status,
                failure_reason=self._state.failure_reason,
                last_modified_at=self._parts.clock.now(),
            )
            turn.change.put_execution(self.execution)
        return turn

    def _begin(self, step: Step, turn: _Turn) -> None:
        now = self._parts.clock.now()
        job_name = new_job_name(self.execution.id, step.name)
        run = self._step_run(step, job_name, now, self._history.attempts.get(step.name, 0) + 1)
        record = StepRecord(
            execution_arn=self.execution.arn,
            name=step.name,
            type=str(step.type),
            status=StepStatus.EXECUTING,
            started_at=now,
            position=self._next_position,
            attempts=run.attempt,
            job_name=job_name if step.type in NAMED_JOBS else None,
            log=str(run.log.relative_to(self._parts.settings.store)),
        )
        self._next_position += 1
        self._launch(run, record, self._parts.clock.monotonic(), turn)
        turn.change.put_step(record, step_event(record, now))

    def _take_up(self, record: StepRecord, turn: _Turn) -> None:
        """Go on with a step that was running when an earlier gateway was killed."""
        clock, step = self._parts.clock, self._definition.step(record.name)
        job_name = record.job_name or new_job_name(self.execution.id, step.name)
        run = self._step_run(step, job_name, record.started_at, record.attempts)
        if record.outputs:  # nothing of its job had been done before it was announced
            run = replace(run, past=Past(record, self._history.jobs.get(record.name, {})))
        since = clock.monotonic() - (clock.now() - record.started_at).total_seconds()
        self._launch(run, record, since, turn, taken_up=True)
        event = step_event(record, clock.now(), note="taken up again by a new gateway")
        turn.change.put_step(record, event)

    def _step_run(self, step: Step, job_name: str, now: datetime, attempt: int) -> StepRun:
        return StepRun(
            execution=self.execution,
            step=step,
            scope=self._scope.with_job(job_name, now),
            parts=self._parts,
            job_name=job_name,
            stop=StopSignal(),
            announce=lambda said: self._announce(step.name, said),
            attempt=attempt,
        )

    def _launch(
        self,
        run: StepRun,
        record: StepRecord,
        started: float,
        turn: _Turn,
        *,
        taken_up: bool = False,
    ) -> None:
        thread = threading.Thread(
            target=self._execute, args=(run, taken_up), name=f"step {run.step.name}", daemon=True
        )
        running = _Running(run, record, started, thread)
        self._running[run.step.name] = running
        turn.to_launch.append(running)

    def _carry_out(self, turn: _Turn) -> None:
        self._journal.write(self.execution.arn, turn.change)
        self._turn = _Turn()
        for event in turn.to_acknowledge:
            event.set()
        for running in turn.to_launch:
            running.thread.start()
            self._threads.append(running.thread)
        if turn.stop:
            self._stop_running()

    def _stop_running(self) -> None:
        # Side by side: each may take up to its grace time.
        for running in self._running.values():
            threading.Thread(
                target=self._stop,
                args=(running.run,),
                name=f"stop {running.run.step.name}",
                daemon=True,
            ).start()

    def _stop(self, run: StepRun) -> None:
        try:
            run.stop.request()
        except Exception:
            _logger.exception("stopping step %s of %s failed", run.step.name, self.execution.id)

    # --- a step's own thread ---

    def _announce(self, step: str, announcement: Announcement) -> None:
        """Returns when it is on disk: a job that starts has a record that it can be found by."""
        written = threading.Event()
        self._inbox.put(_Announced(step, announcement, written))
        self._wait_for(written)

    def _wait_for(self, written: threading.Event) -> None:
        # Either the driver had stopped listening before, or its last look is still to come.
        if not self._deaf.is_set():
            written.wait()

    def _execute(self, run: StepRun, taken_up: bool) -> None:
        clock, written = self._parts.clock, threading.Event()
        if taken_up and run.past is None and run.step.type not in REPEATABLE:
            result = _cut_off(run)
        else:
            run, result = self._attempts(run)
        self._inbox.put(_Ended(run.step.name, result, clock.now(), clock.monotonic(), written))
        self._wait_for(written)
        if not self._broken.is_set():  # the end may not be on disk
            self._tidy(run)

    def _attempts(self, run: StepRun) -> tuple[StepRun, StepResult]:
        """Try until the step ends or its retry policies do; the last attempt and its result."""
        clock, failures = self._parts.clock, list[str | None]()
        started = clock.monotonic()
        while True:
            result = self._attempt(run)
            failures.append(result.exception_type)
            seconds = clock.monotonic() - started
            retry = next_retry(run.step.retry_policies, failures, seconds)
            if result.status is not StepStatus.FAILED or retry is None or run.stop.requested:
                return run, result
            self._tidy(run)
            run = self._next_attempt(run, retry)
            why = (result.failure_reason or "").partition("\n")[0]
            note = f"{retry}: {result.exception_type}: {why}"
            self._inbox.put(_Retrying(run, note, result.outputs))
            if self._parts.pause(run.stop, retry.seconds):
                return run, StepResult(status=StepStatus.STOPPED)

    def _attempt(self, run: StepRun) -> StepResult:
        try:
            return self._executors[run.step.type].run(run)
        except StepStopped:
            return StepResult(status=StepStatus.STOPPED)
        except BaseException as error:  # noqa: BLE001 - whatever happens, the step ends with it
            return _failed(run, error)

    def _next_attempt(self, run: StepRun, retry: Retry) -> StepRun:
        job_name = new_job_name(self.execution.id, run.step.name)
        return replace(
            run,
            job_name=job_name,
            scope=self._scope.with_job(job_name, self._parts.clock.now()),
            attempt=run.attempt + 1,
            past=None,
            afterwards=[],
        )

    def _tidy(self, run: StepRun) -> None:
        for tidy in run.afterwards:
            try:
                tidy()
            except Exception:
                _logger.exception("tidying after step %s failed", run.step.name)

    # --- when the driver itself fails ---

    def _give_up(self, error: BaseException) -> None:
        """End everything and record the execution as Failed, however long the store refuses."""
        self._stop_running()
        for thread in self._threads:
            thread.join()
        reason = reason_for(error)
        now = self._parts.clock.now()
        unwritten = self._turn.change  # steps whose end was taken and could not be written
        change = Change(
            None, unwritten.steps, [each for each in unwritten.events if each[0] == STEP]
        )
        for running in self._running.values():
            record = replace(
                running.record, status=StepStatus.FAILED, ended_at=now, failure_reason=reason
            )
            change.put_step(record, step_event(record, now))
        self.execution = replace(
            self.execution,
            status=ExecutionStatus.FAILED,
            failure_reason=reason,
            last_modified_at=now,
        )
        change.put_execution(self.execution)
        self._write_at_last(change)

    def _write_at_last(self, change: Change) -> None:
        pause = 0.1
        while True:
            try:
                if self._journal.knows(self.execution.arn):
                    self._journal.write(self.execution.arn, change)
                return
            except MlopsError:
                _logger.exception("the end of execution %s is not recorded", self.execution.id)
            if self._abandoned.wait(pause):
                return  # the next gateway records it: to it the execution is unfinished
            pause = min(2 * pause, LONGEST_RETRY_SECONDS)


def _cut_off(run: StepRun) -> StepResult:
    """The end of a step of which nobody knows whether it was carried out: not twice, then."""
    return StepResult(
        status=StepStatus.FAILED,
        failure_reason=(
            f"InternalServerError: The gateway was killed while this {run.step.type} step ran: "
            "what became of it is not known. See whether it was carried out; "
            f"`mlops executions resume {run.execution.id}` carries it out again."
        ),
    )


def _failed(run: StepRun, error: BaseException) -> StepResult:
    if not isinstance(error, (MlopsError, OSError)):
        # A defect of this project: the place in the code is what helps to mend it.
        with suppress(OSError):
            run.folder.mkdir(parents=True, exist_ok=True)
            with run.log.open("a", encoding="utf-8") as log:
                log.write("".join(traceback.format_exception(error)))
    return StepResult(
        status=StepStatus.FAILED,
        failure_reason=reason_for(error),
        exception_type=exception_type(error),
    )
