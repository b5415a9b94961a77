"""What the driver and a step's executor say to one another.

The driver makes a ``StepRun`` for each start of a step and calls the executor of its type with it,
in a thread of its own. The executor announces its job and returns a ``StepResult``, or raises: the
driver turns every exception into a failed step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlops.definition import Step
from mlops.execution.callbacks import Callbacks
from mlops.execution.resuming import Past
from mlops.execution.scope import ExecutionScope
from mlops.execution.stopping import StopSignal
from mlops.ports import (
    CacheEntry,
    Clock,
    ContainerRuntime,
    EndpointHost,
    ExecutionRecord,
    FunctionHost,
    JsonObject,
    ModelRegistry,
    ModelServers,
    ObjectStore,
    QueueHost,
    StepRecord,
    StepStatus,
)
from mlops.settings import Settings
from mlops.surroundings import Surroundings, surroundings_at

STORE_LABEL = "mlops.store"
EXECUTION_LABEL = "mlops.execution"
STEP_LABEL = "mlops.step"


@dataclass(frozen=True, slots=True)
class Parts:
    """The outside, as executors may use it."""

    objects: ObjectStore
    runtime: ContainerRuntime
    registry: ModelRegistry
    clock: Clock
    settings: Settings
    gateway_url: Callable[[], str]
    sync_seconds: float
    cache: StepCache
    pause: Callable[[StopSignal, float], bool]
    """Lets seconds pass before another attempt, unless a stop is asked for: then True, at once."""
    endpoints: EndpointHost | None = None
    functions: FunctionHost | None = None
    queues: QueueHost | None = None
    callbacks: Callbacks | None = None
    models: ModelServers | None = None

    @property
    def store_label(self) -> str:
        """Tells this state folder's jobs from those of another gateway."""
        return str(self.settings.store)

    def surroundings(self) -> Surroundings:
        """The gateway's address as a job's container reaches it, and the region."""
        host = self.runtime.gateway_host
        return surroundings_at(self.gateway_url(), host, self.settings.region)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A step's job is made: what a listing and the job's Describe show while it runs."""

    job_name: str | None
    metadata: JsonObject
    outputs: JsonObject
    note: str | None = None
    """Something that a person who follows is told, such as why the cache was of no use."""


@dataclass(frozen=True, slots=True)
class CacheAnswer:
    """What the cache says of a step that is about to run."""

    key: str | None = None
    """Under which its outputs are to be kept; None where they are not."""
    hit: StepRecord | None = None
    """The step of an earlier execution whose outputs are taken over."""
    note: str | None = None
    """Why an earlier run was found and is not used, for a person."""


class StepCache(Protocol):
    """Takes over what an earlier run of a step made (``execution.caching``)."""

    def look_up(self, run: StepRun, request: JsonObject) -> CacheAnswer:
        """Whether an earlier run made what `request` would make again."""
        ...

    def entry(self, run: StepRun, key: str, outputs: JsonObject) -> CacheEntry:
        """What to keep of a step that has succeeded, whose outputs are in the store."""
        ...


class NoCache:
    """Implements ``StepCache`` for jobs that are nobody's former run."""

    def look_up(self, run: StepRun, request: JsonObject) -> CacheAnswer:
        return CacheAnswer()

    def entry(self, run: StepRun, key: str, outputs: JsonObject) -> CacheEntry:
        raise AssertionError(f"{run.step.name} was to be kept for a cache that is none")


class NoRegistry:
    """Implements ``ports.ModelRegistry`` where there are only jobs."""

    def register(self, request: JsonObject) -> JsonObject:
        raise AssertionError("a job registers nothing")

    def create_model(self, request: JsonObject) -> JsonObject:
        raise AssertionError("a job creates no model")


def attempt_folder(attempt: int) -> str:
    """Where the files of a later attempt are, below those of the first."""
    return f"attempt-{attempt}"


@dataclass(frozen=True, slots=True)
class StepRun:
    """One attempt at one step."""

    execution: ExecutionRecord
    step: Step
    scope: ExecutionScope
    parts: Parts
    job_name: str
    """The name that the step's job or model gets, unless the step brings a prefix of its own."""
    stop: StopSignal
    announce: Callable[[Announcement], None]
    attempt: int = 1
    """Counts from 1; a retry policy asks for more than one."""
    past: Past | None = None
    """What an earlier gateway began of this attempt, where its job was announced."""
    afterwards: list[Callable[[], None]] = field(default_factory=list)
    """Tidying up that no later step waits for; done in the step's thread after its end is on disk:
    until then a later gateway may need what is tidied."""

    @property
    def folder(self) -> Path:
        """Where the run's files are: ``ml/`` (the job's ``/opt/ml``) and ``log.txt``."""
        step = self.parts.settings.store / "executions" / self.execution.id / self.step.name
        return step if self.attempt == 1 else step / attempt_folder(self.attempt)

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def labels(self) -> dict[str, str]:
        return {
            STORE_LABEL: self.parts.store_label,
            EXECUTION_LABEL: self.execution.id,
            STEP_LABEL: self.step.name,
        }

    @property
    def how_to_repeat(self) -> str:
        return f"`mlops executions resume {self.execution.id}` runs the step again"

    def resolve_arguments(self) -> Any:
        """The step's ``Arguments`` with every reference and function resolved.

        Raises:
            ResolveError: a part of them has no value.
        """
        return self.step.arguments.resolve(self.scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """How a step ended. ``outputs`` and ``metadata`` are those of its record."""

    status: StepStatus
    metadata: JsonObject = field(default_factory=dict)
    outputs: JsonObject = field(default_factory=dict)
    outcome: str | None = None
    """``true`` or ``false`` of a condition step."""
    failure_reason: str | None = None
    detail: str | None = None
    """One line that says what came of it."""
    job_name: str | None = None
    process_seconds: float = 0.0
    """How long the job's own process ran; the rest of the step's time is overhead."""
    cached_from: str | None = None
    """The ARN of the execution whose outputs were taken over: no job ran."""
    cache_entry: CacheEntry | None = None
    """What later executions may take over."""
    exception_type: str | None = None
    """Of a failure: what a retry policy calls it (``engine.retry``); None where none matches."""


class StepExecutor(Protocol):
    """Carries out the steps of one type. Has no state: one object serves every execution."""

    def run(self, run: StepRun) -> StepResult:
        """Carry out a step; returns when nothing of it is left running.

        Raises:
            Exception: of any kind; the step has failed for it.
        """
        ...
