"""What an execution would do, found out without one: nothing is started, nothing is written.

The steps are gone through in the order in which they could run. Each step's request is resolved as
far as it is known: parameters are bound, a step that would come from cache has the outputs of its
source, and of a job that would run the Describe answer is foretold, with a stand-in for its name.
The cache is asked as a run would ask it. What hangs on the outputs of a job that has not run is
left open: such a condition has both its branches planned.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from mlops.definition import (
    ConditionStep,
    PipelineDefinition,
    Step,
    bind_parameters,
    parse_definition,
)
from mlops.engine import dependencies, evaluate_conditions
from mlops.engine.partial import NotYet, resolve_partly
from mlops.errors import MlopsError, ResolveError, StoreError
from mlops.execution.caching import CONTENT, StoredStepCache
from mlops.execution.former_runs import why_not_used
from mlops.execution.names import new_execution_id, new_job_name
from mlops.execution.outputs import SYNC_SECONDS
from mlops.execution.scope import ExecutionScope, execution_variables
from mlops.execution.step_run import Parts, StepRun
from mlops.execution.steps import EXECUTORS
from mlops.execution.steps.job import JobExecutor
from mlops.execution.stopping import StopSignal
from mlops.ports import (
    Clock,
    ContainerRuntime,
    ExecutionRecord,
    ExecutionStatus,
    JsonObject,
    ModelRegistry,
    ObjectStore,
    PipelineRecord,
    StateStore,
)
from mlops.settings import CACHE_OFF, Settings
from mlops.unknown import UNKNOWN, holds_unknown


class Fate(StrEnum):
    RUN = "run"
    CACHED = "cached"
    OPEN = "open"
    """It runs or comes from cache: that hangs on what an earlier step makes."""
    SKIP = "skip"
    """It is in a branch that is not taken, or waits for a step that is."""


@dataclass(slots=True)
class PlannedStep:
    """What would become of a step."""

    name: str
    type: str
    wave: int
    """Steps of one wave wait for none of one another; counts from 1."""
    fate: Fate
    reason: str = ""
    source: str | None = None
    """Of a cached step: the id of the execution whose outputs are taken over."""
    after: tuple[str, ...] = ()
    only_if: tuple[tuple[str, bool], ...] = ()
    """Conditions that are open, and the outcome that lets the step run."""
    outcome: bool | None = None
    """Of a condition: its outcome where it is known."""
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of a condition: the steps of its branches, under ``true`` and ``false``."""
    image: str | None = None
    inputs: tuple[tuple[str, str], ...] = ()
    """Names and addresses; ``<job of Train>`` and ``<new execution>`` stand for names to come."""


class Planner:
    """Plans executions of the pipelines of one state folder."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        runtime: ContainerRuntime,
        registry: ModelRegistry,
        clock: Clock,
        settings: Settings,
    ) -> None:
        self._state = state
        self._settings = settings
        self._parts = Parts(
            objects,
            runtime,
            registry,
            clock,
            settings,
            lambda: "",
            SYNC_SECONDS,
            StoredStepCache(state, objects, settings.cache_mode),
            lambda stop, seconds: False,
        )

    def plan(
        self,
        name: str,
        definition: str,
        parameters: Mapping[str, str],
        cache_mode: str | None = None,
    ) -> tuple[PlannedStep, ...]:
        """What an execution of `definition` under the pipeline's `name` would do.

        Raises:
            DefinitionError, ParameterError: as starting it would.
        """
        tree = parse_definition(definition)
        bound = bind_parameters(tree, parameters)
        execution = self._execution(name, definition, parameters, cache_mode)
        return _Planning(self._state, self._parts, tree, bound, execution).steps()

    def _execution(
        self, name: str, definition: str, parameters: Mapping[str, str], cache_mode: str | None
    ) -> ExecutionRecord:
        now, settings = self._parts.clock.now(), self._settings
        known: PipelineRecord | None = self._state.get_pipeline(name)
        place = f"arn:aws:sagemaker:{settings.region}:{settings.account_id}"
        arn = f"{place}:pipeline/{name}" if known is None else known.arn
        identity = new_execution_id()
        return ExecutionRecord(
            arn=f"{arn}/execution/{identity}",
            id=identity,
            pipeline_name=name,
            pipeline_arn=arn,
            definition=definition,
            parameters=parameters,
            status=ExecutionStatus.EXECUTING,
            display_name="plan",
            started_at=now,
            last_modified_at=now,
            cache_mode=cache_mode,
        )


@dataclass(frozen=True, slots=True)
class _Scope(ExecutionScope):
    """An execution that has not begun, as one of its steps would see it."""

    files_known: bool = True

    def step_outputs(self, step_name: str) -> Mapping[str, Any]:
        if step_name not in self.outputs:
            raise NotYet(f"the outputs of {step_name} are not known yet", step_name)
        return self.outputs[step_name]

    def read_text(self, s3_uri: str) -> str:
        if not self.files_known:
            raise NotYet(f"what {s3_uri} will hold is not known yet")
        # Not the bare super(): a dataclass with slots is another class than the one defined.
        return ExecutionScope.read_text(self, s3_uri)


class _Planning:
    """One plan in the making."""

    def __init__(
        self,
        state: StateStore,
        parts: Parts,
        definition: PipelineDefinition,
        parameters: Mapping[str, Any],
        execution: ExecutionRecord,
    ) -> None:
        self._state = state
        self._parts = parts
        self._definition = definition
        self._graph = dependencies(definition)
        self._execution = execution
        self._planned: dict[str, PlannedStep] = {}
        self._outputs: dict[str, JsonObject] = {}
        self._made_anew: dict[str, bool] = {}
        """Whether a step or one before it would run: files that it writes are not there yet."""
        self._jobs: dict[str, str] = {}
        variables = execution_variables(execution)
        self._scope = _Scope(parameters, variables, self._outputs, parts.objects)

    def steps(self) -> tuple[PlannedStep, ...]:
        for name in self._in_order():
            planned = self._plan(self._definition.step(name))
            self._planned[name] = planned
            before = any(self._made_anew[each] for each in self._graph.after[name])
            runs = planned.fate in (Fate.RUN, Fate.OPEN) and not planned.branches
            self._made_anew[name] = before or runs
        return tuple(sorted(self._planned.values(), key=lambda step: step.wave))

    def _in_order(self) -> Iterator[str]:
        waiting = list(self._graph.names)
        while waiting:
            ready = [n for n in waiting if all(a in self._planned for a in self._graph.after[n])]
            yield from ready
            waiting = [name for name in waiting if name not in ready]

    def _plan(self, step: Step) -> PlannedStep:
        before = [self._planned[name] for name in self._graph.after[step.name]]
        planned = PlannedStep(
            step.name,
            str(step.type),
            wave=1 + max((each.wave for each in before), default=0),
            fate=Fate.RUN,
            after=self._graph.after[step.name],
            only_if=self._open_gates(step, before),
        )
        reason = self._why_skipped(step, before)
        if reason is not None:
            planned.fate, planned.reason = Fate.SKIP, reason
            return planned
        try:
            self._foresee(step, planned)
        except NotYet as error:
            planned.fate, planned.reason = Fate.OPEN, error.what
        except MlopsError as error:
            planned.fate, planned.reason = Fate.RUN, f"it would fail: {error.what}"
        planned.reason = self._without_new_names(planned.reason)
        return planned

    def _open_gates(self, step: Step, before: list[PlannedStep]) -> tuple[tuple[str, bool], ...]:
        gate = self._graph.gates.get(step.name)
        gates = {condition: outcome for each in before for condition, outcome in each.only_if}
        if gate is not None and self._planned[gate.step].outcome is None:
            gates[gate.step] = gate.outcome
        return tuple(gates.items())

    def _why_skipped(self, step: Step, before: list[PlannedStep]) -> str | None:
        gate = self._graph.gates.get(step.name)
        if gate is not None:
            outcome = self._planned[gate.step].outcome
            if outcome is not None and outcome != gate.outcome:
                return f"{gate.step} is {str(outcome).lower()}"
        skipped = [each.name for each in before if each.fate is Fate.SKIP]
        return f"it waits for {', '.join(skipped)}" if skipped else None

    def _foresee(self, step: Step, planned: PlannedStep) -> None:
        if isinstance(step, ConditionStep):
            self._foresee_condition(step, planned)
            return
        executor = EXECUTORS.get(step.type)
        if not isinstance(executor, JobExecutor):
            planned.reason = f"a {step.type} step always runs"
            return
        name = self._jobs[step.name] = new_job_name(self._execution.id, step.name)
        run = self._run(step, name)
        arguments = resolve_partly(step.arguments, run.scope)
        request = _told(arguments, executor, name)
        planned.image, planned.inputs = _image(request), tuple(self._inputs(request))
        if holds_unknown(arguments):
            self._judge_open(step, planned)
            return
        answer = run.parts.cache.look_up(run, request)
        if answer.hit is not None and not self._hangs_on_contents(step):
            planned.fate, planned.source = Fate.CACHED, answer.hit.execution_arn.rpartition("/")[2]
            self._outputs[step.name] = answer.hit.outputs
            return
        self._outputs[step.name] = executor.foretold(run, request)
        if self._hangs_on_contents(step) and answer.key is not None:
            planned.fate, planned.reason = Fate.OPEN, self._hanging(step)
            return
        planned.reason = answer.note or self._why_it_runs(step, run, request, answer.key)

    def _foresee_condition(self, step: ConditionStep, planned: PlannedStep) -> None:
        planned.branches = {
            str(outcome).lower(): tuple(each.name for each in steps)
            for outcome, steps in step.branches.items()
        }
        run = self._run(step, "condition")
        try:
            planned.outcome = evaluate_conditions(step, run.scope)
        except NotYet as error:
            planned.fate, planned.reason = Fate.OPEN, error.what
        except (ResolveError, StoreError) as error:
            planned.reason = f"it would fail: {error.what}"
        else:
            self._outputs[step.name] = {"Outcome": str(planned.outcome).lower()}

    def _judge_open(self, step: Step, planned: PlannedStep) -> None:
        if not self._may_be_cached(step):
            planned.reason = self._why_never_cached(step)
        else:
            planned.fate, planned.reason = Fate.OPEN, self._hanging(step)

    def _run(self, step: Step, job_name: str) -> StepRun:
        files_known = not any(self._made_anew[each] for each in self._graph.after[step.name])
        scope = replace(
            self._scope.with_job(job_name, self._parts.clock.now()), files_known=files_known
        )
        return StepRun(
            execution=self._execution,
            step=step,
            scope=scope,
            parts=self._parts,
            job_name=job_name,
            stop=StopSignal(),
            announce=lambda said: None,
        )

    def _hangs_on_contents(self, step: Step) -> bool:
        """By contents: whether what it reads is yet to be written."""
        mode = self._execution.cache_mode or self._parts.settings.cache_mode
        anew = any(self._made_anew[each] for each in self._graph.after[step.name])
        return mode == CONTENT and anew and self._may_be_cached(step)

    def _hanging(self, step: Step) -> str:
        anew = [each for each in self._graph.after[step.name] if self._made_anew[each]]
        return f"that hangs on what {', '.join(anew) or 'an earlier step'} makes"

    def _may_be_cached(self, step: Step) -> bool:
        return self._why_never_cached(step) == ""

    def _why_never_cached(self, step: Step) -> str:
        if step.cache_config is None or not step.cache_config.enabled:
            return "its caching is not turned on"
        return "caching is off" if self._execution.cache_mode == CACHE_OFF else ""

    def _why_it_runs(self, step: Step, run: StepRun, request: JsonObject, key: str | None) -> str:
        never = self._why_never_cached(step)
        if never or key is None:
            return never or f"a {step.type} step has no cache"
        return why_not_used(self._state, run, request, key)

    def _inputs(self, request: JsonObject) -> Iterator[tuple[str, str]]:
        for name, address in _addresses(request):
            text = "not known yet" if address is UNKNOWN else str(address)
            yield name, self._without_new_names(text)

    def _without_new_names(self, text: str) -> str:
        for step, job in self._jobs.items():
            text = text.replace(job, f"<job of {step}>")
        return text.replace(self._execution.id, "<new execution>")


def _told(arguments: Any, executor: JobExecutor, job_name: str) -> JsonObject:
    """The request of a job; as it stands where a part of it is not known."""
    if holds_unknown(arguments):
        return dict(arguments)
    return executor.request_of(arguments, job_name)


def _image(request: JsonObject) -> str | None:
    for member, name in (
        ("AppSpecification", "ImageUri"),
        ("AlgorithmSpecification", "TrainingImage"),
    ):
        found = request.get(member, {})
        image = found.get(name) if isinstance(found, dict) else None
        if isinstance(image, str):
            return image
    return None


def _addresses(request: JsonObject) -> Iterator[tuple[str, Any]]:
    """The names and S3 addresses of a job's inputs, as far as they have the form of inputs."""
    text = json.dumps(request, default=lambda value: {"?": True})
    document = json.loads(text, object_hook=lambda each: UNKNOWN if each == {"?": True} else each)
    for each in document.get("ProcessingInputs") or ():
        yield str(each.get("InputName")), each.get("S3Input", {}).get("S3Uri", UNKNOWN)
    for each in document.get("InputDataConfig") or ():
        source = each.get("DataSource", {}).get("S3DataSource", {})
        yield str(each.get("ChannelName")), source.get("S3Uri", UNKNOWN)
    source = document.get("TransformInput", {}).get("DataSource", {}).get("S3DataSource", {})
    if source:
        yield "input", source.get("S3Uri", UNKNOWN)
