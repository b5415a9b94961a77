"""Starts, stops and watches executions: the public face of this package."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from typing import TypeAlias

from mlops.definition import bind_parameters, parse_definition
from mlops.errors import GatewayUnavailable, MlopsError, ServiceError
from mlops.execution.caching import StoredStepCache
from mlops.execution.callbacks import Callbacks
from mlops.execution.direct_jobs import DirectJobs
from mlops.execution.driver import Driver
from mlops.execution.former_jobs import former_job
from mlops.execution.journal import Change, Journal
from mlops.execution.names import display_name as default_display_name
from mlops.execution.names import execution_arn, new_execution_id
from mlops.execution.outputs import SYNC_SECONDS
from mlops.execution.recovery import abandoned
from mlops.execution.reserve import DiskReserve
from mlops.execution.resuming import History, of_interrupted, of_new, of_retried
from mlops.execution.selective import as_reused, lent_steps
from mlops.execution.step_run import EXECUTION_LABEL, STEP_LABEL, STORE_LABEL, Parts
from mlops.execution.stopping import STOP_GRACE_SECONDS, StopSignal
from mlops.ports import (
    Clock,
    ContainerRuntime,
    EndpointHost,
    Event,
    ExecutionRecord,
    ExecutionStatus,
    FunctionHost,
    JsonObject,
    ModelRegistry,
    ModelServers,
    ObjectStore,
    PipelineRecord,
    QueueHost,
    RunningJob,
    StateStore,
    StepRecord,
)
from mlops.settings import Settings

CLOSE_SECONDS = STOP_GRACE_SECONDS + 20.0

FoundByStep: TypeAlias = dict[str, dict[str, dict[str, RunningJob]]]

_logger = logging.getLogger(__name__)


class ExecutionManager:
    """Runs pipelines. One for each state folder; safe to use from several threads."""

    def __init__(
        self,
        objects: ObjectStore,
        state: StateStore,
        runtime: ContainerRuntime,
        registry: ModelRegistry,
        clock: Clock,
        settings: Settings,
        gateway_url: Callable[[], str],
        *,
        sync_seconds: float = SYNC_SECONDS,
        pause: Callable[[StopSignal, float], bool] = StopSignal.wait,
        endpoints: EndpointHost | None = None,
        functions: FunctionHost | None = None,
        queues: QueueHost | None = None,
        models: ModelServers | None = None,
    ) -> None:
        """`sync_seconds`: how often folders that go to S3 while a job runs are looked at.
        `pause`: lets the seconds before another attempt pass (tests let none pass).
        `endpoints`, `functions`, `queues`, `models`: where Endpoint, Lambda, Callback and
        Transform steps have theirs; without, such steps are refused.
        """
        self.callbacks = Callbacks(state, clock)
        self._parts = Parts(
            objects,
            runtime,
            registry,
            clock,
            settings,
            gateway_url,
            sync_seconds,
            StoredStepCache(state, objects, settings.cache_mode),
            pause,
            endpoints,
            functions,
            queues,
            self.callbacks,
            models,
        )
        self._state = state
        self.direct_jobs = DirectJobs(state, self._parts)
        self._clock = clock
        self._changed = threading.Condition()
        reserve = DiskReserve(settings.store / "reserve")
        self._journal = Journal(state, clock, reserve, self._notify)
        self._admission = threading.Lock()
        self._lock = threading.Lock()
        self._drivers: dict[str, Driver] = {}
        self._recovering: set[str] = set()
        self._recovered = threading.Event()
        self._recovered.set()
        self._closed = False

    # --- starting and stopping ---

    def start(
        self,
        pipeline: PipelineRecord,
        *,
        parameters: Mapping[str, str] | None = None,
        max_parallel_steps: int | None = None,
        display_name: str | None = None,
        description: str | None = None,
        client_request_token: str | None = None,
        cache_mode: str | None = None,
        selective: JsonObject | None = None,
    ) -> ExecutionRecord:
        """Start an execution of `pipeline`; what is wrong with it is said before anything is kept.

        The same `client_request_token` again gives the execution that it started. The execution's
        own `max_parallel_steps` wins over the pipeline's. `cache_mode` is ``off`` where every step
        shall run again, or one of `settings.CACHE_MODES`. `selective` is botocore's
        ``SelectiveExecutionConfig``: run a part of the pipeline.

        Raises:
            DefinitionError: the definition breaks rules.
            ParameterError: a parameter is unknown, missing, or has a wrong value.
            UsageError: `max_parallel_steps` is below 1, or the selection breaks a rule.
            DiskFull: there is no room to record an execution.
            GatewayUnavailable: this manager is closing.
        """
        definition = parse_definition(pipeline.definition)
        bound = bind_parameters(definition, parameters or {})
        limit = pipeline.max_parallel_steps if max_parallel_steps is None else max_parallel_steps
        lent = lent_steps(self._state, pipeline, definition, selective) if selective else ()
        now = self._clock.now()
        execution_id = new_execution_id()
        execution = ExecutionRecord(
            arn=execution_arn(pipeline, execution_id),
            id=execution_id,
            pipeline_name=pipeline.name,
            pipeline_arn=pipeline.arn,
            definition=pipeline.definition,
            parameters=dict(parameters or {}),
            status=ExecutionStatus.EXECUTING,
            display_name=display_name or default_display_name(now),
            started_at=now,
            last_modified_at=now,
            description=description,
            max_parallel_steps=limit,
            client_request_token=client_request_token,
            cache_mode=cache_mode,
            selective=selective,
        )
        history = of_new([as_reused(step, execution, now) for step in lent])
        parts, journal = self._parts, self._journal
        driver = Driver(execution, definition, bound, parts, journal, self._forget, history)
        return self._admit(execution, driver, history.steps)

    def _admit(
        self, execution: ExecutionRecord, driver: Driver, reused: Sequence[StepRecord]
    ) -> ExecutionRecord:
        # A lock of its own: journal and follow() meet the others in another order.
        with self._admission:
            self._check_open()
            token = execution.client_request_token
            if token is not None:
                before = self._state.find_execution_by_token(execution.pipeline_name, token)
                if before is not None:
                    return before
            self._journal.create(execution, reused)
            with self._lock:
                self._drivers[execution.arn] = driver
        driver.start()
        return execution

    def _check_open(self) -> None:
        if self._closed:
            raise GatewayUnavailable(
                "The gateway is closing and starts no more executions",
                next_step="run the command again: it starts a new gateway",
            )

    def stop(self, arn: str) -> ExecutionRecord:
        """Stop an execution; returns once its record says Stopping. No effect on an ended one.

        Raises:
            ServiceError: there is no such execution.
        """
        self._wait_until_taken_up(arn)
        driver = self._driver(arn)
        if driver is not None:
            driver.request_stop()
        return self._record(arn)

    def _wait_until_taken_up(self, arn: str, timeout: float | None = None) -> bool:
        """Wait while an execution of an earlier gateway is being found; whether that is over."""
        with self._lock:
            recovering = arn in self._recovering
        return not recovering or self._recovered.wait(timeout)

    def retry(
        self,
        arn: str,
        *,
        max_parallel_steps: int | None = None,
        client_request_token: str | None = None,
    ) -> ExecutionRecord:
        """Go on with an execution that has failed or was stopped: what succeeded is not repeated.

        The same `client_request_token` again changes nothing more. `max_parallel_steps` replaces
        the execution's own.

        Raises:
            ServiceError: there is no such execution, it runs, or it has succeeded.
            UsageError: `max_parallel_steps` is below 1.
            GatewayUnavailable: this manager is closing.
            MlopsError: what its jobs may have left running cannot be ended.
        """
        with self._admission:
            self._check_open()
            old = self._record(arn)
            if client_request_token is not None and old.retry_token == client_request_token:
                return old
            _check_can_be_retried(old)
            execution = replace(
                old,
                status=ExecutionStatus.EXECUTING,
                failure_reason=None,
                last_modified_at=self._clock.now(),
                retry_token=client_request_token,
                max_parallel_steps=max_parallel_steps or old.max_parallel_steps,
            )
            graph = parse_definition(execution.definition).graph
            steps = self._state.list_steps(arn)
            history = of_retried(steps, graph)
            driver = self._driver_of(execution, history)
            self._end_jobs_of(execution.id)
            change = Change()
            for step in steps:
                if step.name in history.attempts:  # it runs anew, and gets another record
                    change.put_former_job(former_job(step, step.outputs, self._clock.now()))
            change.put_execution(execution)
            self._journal.write(arn, change)
            with self._lock:
                self._drivers[arn] = driver
        driver.start()
        return execution

    def recover(self) -> Sequence[ExecutionRecord]:
        """Take up the executions and jobs that a dead gateway left unfinished, in the background.

        To be called once, before anything is started. Returns at once, with those executions.
        """
        self.direct_jobs.recover()
        unfinished = self._state.unfinished_executions()
        with self._lock:
            self._recovering.update(execution.arn for execution in unfinished)
            self._recovered.clear()
        threading.Thread(
            target=self._take_up_all, args=(unfinished,), name="recovery", daemon=True
        ).start()
        return unfinished

    def _take_up_all(self, unfinished: Sequence[ExecutionRecord]) -> None:
        found: FoundByStep | MlopsError
        try:
            found = self._found_jobs({execution.id for execution in unfinished})
        except MlopsError as error:
            _logger.exception("the jobs of an earlier gateway cannot be looked for")
            found = error
        try:
            for execution in unfinished:
                self._take_up(execution, found)
        finally:
            with self._lock:
                self._recovering.clear()
            self._recovered.set()
            self._notify()

    def _take_up(self, execution: ExecutionRecord, found: FoundByStep | MlopsError) -> None:
        steps = self._state.list_steps(execution.arn)
        try:
            if isinstance(found, MlopsError):
                raise found
            events = self._state.events_after(execution.arn, 0)
            jobs = found.get(execution.id, {})
            driver = self._driver_of(execution, of_interrupted(execution, steps, events, jobs))
        except MlopsError as error:
            _logger.exception("execution %s cannot be taken up again", execution.id)
            change = abandoned(execution, steps, str(error), self._clock.now())
            self._journal.write(execution.arn, change)
            return
        with self._lock:
            self._drivers[execution.arn] = driver
            self._recovering.discard(execution.arn)
        driver.start()

    def _found_jobs(self, unfinished: Set[str]) -> FoundByStep:
        """The jobs of unfinished executions, by execution, step and name; others are ended."""
        runtime, mine = self._parts.runtime, {STORE_LABEL: self._parts.store_label}
        if not unfinished:
            runtime.remove_leftovers(mine)
            return {}
        found: FoundByStep = {}
        for job in runtime.find_jobs(mine):
            execution_id = job.labels.get(EXECUTION_LABEL, "")
            if execution_id in unfinished:
                steps = found.setdefault(execution_id, {})
                steps.setdefault(job.labels[STEP_LABEL], {})[job.name] = job.job
            else:
                runtime.remove_leftovers({**mine, EXECUTION_LABEL: execution_id})
        return found

    def _end_jobs_of(self, execution_id: str) -> None:
        """No job of an earlier start may still run when a step is run anew."""
        label = self._parts.store_label
        self._parts.runtime.remove_leftovers({STORE_LABEL: label, EXECUTION_LABEL: execution_id})

    def _driver_of(self, execution: ExecutionRecord, history: History) -> Driver:
        """The driver of an execution that is recorded already."""
        definition = parse_definition(execution.definition)
        bound = bind_parameters(definition, execution.parameters)
        parts, journal = self._parts, self._journal
        return Driver(execution, definition, bound, parts, journal, self._forget, history)

    def close(self) -> None:
        """Stop every execution and job, wait until each is recorded, and start no more."""
        with self._admission:
            self._closed = True
        self._recovered.wait(CLOSE_SECONDS)
        self.callbacks.leave()
        with self._lock:
            drivers = list(self._drivers.values())
        for driver in drivers:
            driver.request_stop()
            driver.abandon()
        self.direct_jobs.close()
        for driver in drivers:
            driver.ended.wait(CLOSE_SECONDS)

    # --- watching ---

    def active(self) -> int:
        """How many executions, and jobs without one, run now."""
        with self._lock:
            executions = len(self._drivers) + len(self._recovering)
        return executions + self.direct_jobs.up()

    def wait(self, arn: str, timeout: float | None = None) -> ExecutionRecord | None:
        """The record of an execution once it has ended; None after `timeout` seconds.

        Raises:
            ServiceError: there is no such execution.
        """
        if not self._wait_until_taken_up(arn, timeout):
            return None
        driver = self._driver(arn)
        if driver is not None and not driver.ended.wait(timeout):
            return None
        return self._record(arn)

    def follow(self, arn: str, after: int, timeout: float) -> Sequence[Event]:
        """The events after number `after`, as soon as there are any; none after `timeout` seconds.

        Returns at once when the execution has ended.
        """
        events: Sequence[Event] = ()

        def something_new() -> bool:
            nonlocal events
            ended = not self._runs(arn)  # asked first: its last event is written before
            events = self._state.events_after(arn, after)
            return bool(events) or ended

        with self._changed:
            self._changed.wait_for(something_new, timeout)
        return events

    # --- inside ---

    def _driver(self, arn: str) -> Driver | None:
        with self._lock:
            return self._drivers.get(arn)

    def _runs(self, arn: str) -> bool:
        with self._lock:
            return arn in self._drivers or arn in self._recovering

    def _record(self, arn: str) -> ExecutionRecord:
        record = self._state.get_execution(arn)
        if record is None:
            raise ServiceError(
                "ResourceNotFound", f"Pipeline execution with ARN {arn} does not exist."
            )
        return record

    def _forget(self, driver: Driver) -> None:
        with self._lock:
            self._drivers.pop(driver.execution.arn, None)
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _check_can_be_retried(execution: ExecutionRecord) -> None:
    if not execution.status.ended:
        raise ServiceError(
            "ConflictException",
            f"Pipeline execution {execution.arn} is {execution.status}: only an execution that has "
            "failed or was stopped can be retried.",
        )
    if execution.status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.COMPLETED_WITH_FAILURES):
        raise ServiceError(
            "ValidationException",
            f"Pipeline execution {execution.arn} is {execution.status}: only an execution that has "
            "failed or was stopped can be retried.",
        )
