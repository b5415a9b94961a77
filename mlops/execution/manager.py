"""Starts, stops and watches executions: the public face of this package."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from mlops.definition import bind_parameters, parse_definition
from mlops.engine import ExecutionState
from mlops.errors import GatewayUnavailable, MlopsError, ServiceError
from mlops.execution.caching import StoredStepCache
from mlops.execution.callbacks import Callbacks
from mlops.execution.driver import Driver
from mlops.execution.journal import Journal
from mlops.execution.names import display_name as default_display_name
from mlops.execution.names import execution_arn, new_execution_id
from mlops.execution.outputs import SYNC_SECONDS
from mlops.execution.recovery import Leftovers, abandoned
from mlops.execution.reserve import DiskReserve
from mlops.execution.step_run import STORE_LABEL, Parts
from mlops.execution.stopping import STOP_GRACE_SECONDS, StopSignal
from mlops.ports import (
    Clock,
    ContainerRuntime,
    EndpointHost,
    Event,
    ExecutionRecord,
    ExecutionStatus,
    FunctionHost,
    ModelRegistry,
    ObjectStore,
    PipelineRecord,
    QueueHost,
    StateStore,
)
from mlops.settings import Settings

CLOSE_SECONDS = STOP_GRACE_SECONDS + 20.0


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
    ) -> None:
        """`sync_seconds`: how often folders that go to S3 while a job runs are looked at.
        `pause`: lets the seconds before another attempt pass (tests let none pass).
        `endpoints`, `functions`, `queues`: where Endpoint, Lambda and Callback steps have theirs;
        without, such steps are refused.
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
        )
        self._state = state
        self._clock = clock
        self._changed = threading.Condition()
        reserve = DiskReserve(settings.store / "reserve")
        self._journal = Journal(state, clock, reserve, self._notify)
        self._admission = threading.Lock()
        self._lock = threading.Lock()
        self._drivers: dict[str, Driver] = {}
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
    ) -> ExecutionRecord:
        """Start an execution of `pipeline`; what is wrong with it is said before anything is kept.

        The same `client_request_token` again gives the execution that it started. The execution's
        own `max_parallel_steps` wins over the pipeline's. `cache_mode` is ``off`` where every step
        shall run again, or one of `settings.CACHE_MODES`.

        Raises:
            DefinitionError: the definition breaks rules.
            ParameterError: a parameter is unknown, missing, or has a wrong value.
            UsageError: `max_parallel_steps` is below 1.
            DiskFull: there is no room to record an execution.
            GatewayUnavailable: this manager is closing.
        """
        definition = parse_definition(pipeline.definition)
        bound = bind_parameters(definition, parameters or {})
        limit = pipeline.max_parallel_steps if max_parallel_steps is None else max_parallel_steps
        ExecutionState(definition, max_parallel_steps=limit)
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
        )
        driver = Driver(execution, definition, bound, self._parts, self._journal, self._forget)
        return self._admit(execution, driver)

    def _admit(self, execution: ExecutionRecord, driver: Driver) -> ExecutionRecord:
        # A lock of its own: journal and follow() meet the others in another order.
        with self._admission:
            if self._closed:
                raise GatewayUnavailable(
                    "The gateway is closing and starts no more executions",
                    next_step="run the command again: it starts a new gateway",
                )
            token = execution.client_request_token
            if token is not None:
                before = self._state.find_execution_by_token(execution.pipeline_name, token)
                if before is not None:
                    return before
            self._journal.create(execution)
            with self._lock:
                self._drivers[execution.arn] = driver
        driver.start()
        return execution

    def stop(self, arn: str) -> ExecutionRecord:
        """Stop an execution; returns once its record says Stopping. No effect on an ended one.

        Raises:
            ServiceError: there is no such execution.
        """
        driver = self._driver(arn)
        if driver is not None:
            driver.request_stop()
        return self._record(arn)

    def recover(self) -> Sequence[ExecutionRecord]:
        """Record the executions that a dead gateway left unfinished, and end what they left.

        To be called once, before anything is started.
        """
        unfinished = [
            execution
            for execution in self._state.unfinished_executions()
            if self._driver(execution.arn) is None
        ]
        leftovers = self._remove_leftovers()
        for execution in unfinished:
            steps = self._state.list_steps(execution.arn)
            mine = Leftovers(
                [name for name in leftovers.removed if f"-{execution.id}-" in name],
                leftovers.problem,
            )
            change = abandoned(execution, steps, mine, self._clock.now())
            self._journal.write(execution.arn, change)
        return [self._record(execution.arn) for execution in unfinished]

    def _remove_leftovers(self) -> Leftovers:
        runtime = self._parts.runtime
        try:
            return Leftovers(runtime.remove_leftovers({STORE_LABEL: self._parts.store_label}))
        except MlopsError as error:
            # The executions are recorded all the same, and their reason says what may still run.
            return Leftovers(problem=str(error))

    def close(self) -> None:
        """Stop every execution, wait until each is recorded, and start no more."""
        with self._admission:
            self._closed = True
        with self._lock:
            drivers = list(self._drivers.values())
        for driver in drivers:
            driver.request_stop()
            driver.abandon()
        for driver in drivers:
            driver.ended.wait(CLOSE_SECONDS)

    # --- watching ---

    def active(self) -> int:
        """How many executions run now."""
        with self._lock:
            return len(self._drivers)

    def wait(self, arn: str, timeout: float | None = None) -> ExecutionRecord | None:
        """The record of an execution once it has ended; None after `timeout` seconds.

        Raises:
            ServiceError: there is no such execution.
        """
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
            ended = self._driver(arn) is None  # asked first: its last event is written before
            events = self._state.events_after(arn, after)
            return bool(events) or ended

        with self._changed:
            self._changed.wait_for(something_new, timeout)
        return events

    # --- inside ---

    def _driver(self, arn: str) -> Driver | None:
        with self._lock:
            return self._drivers.get(arn)

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
