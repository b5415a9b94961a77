"""`plan`: what a run would do, in which order, on which images and inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops import app
from mlops.execution.planning import Fate, PlannedStep
from mlops.ports import JsonObject
from mlops.runtimes.standing import ImageStanding
from mlops.settings import CACHE_OFF, Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """What an execution of `pipeline` would do. No job has been started for it."""

    pipeline: str
    runtime: str
    steps: tuple[PlannedStep, ...]
    """By wave; within one in the order of the definition."""
    images: Mapping[str, ImageStanding]
    """How each image of the steps stands here, by its URI."""

    @property
    def waves(self) -> tuple[tuple[PlannedStep, ...], ...]:
        """The steps that can run side by side, group after group."""
        last = max((step.wave for step in self.steps), default=0)
        return tuple(
            tuple(step for step in self.steps if step.wave == wave) for wave in range(1, last + 1)
        )


def plan(
    settings: Settings,
    target: str | None = None,
    *,
    parameters: Mapping[str, str] | None = None,
    no_cache: bool = False,
) -> Plan:
    """Plan a run of TARGET, or of the lab's pipeline where it is None.

    Nothing of it is submitted: the pipeline need not exist, and stays as it is where it does. (The
    code of a Python target of your own runs, and uploads what the SDK uploads to compile it.)

    Raises:
        TargetError, DataError, DefinitionError, ParameterError: as a run would, before it starts.
    """
    pipeline = app.backend(settings, "local").compile(target)
    client = app.client(settings)
    mode = CACHE_OFF if no_cache else settings.cache_mode
    entries = client.plan(pipeline.name, pipeline.definition, parameters or {}, mode)
    steps = tuple(map(_step, entries))
    judge = app.image_judge(settings)
    images = {step.image: judge(step.image) for step in steps if step.image is not None}
    return Plan(pipeline.name, str(client.health()["runtime"]), steps, images)


def _step(entry: JsonObject) -> PlannedStep:
    lists: Sequence[str] = ("after", "only_if", "inputs")
    more = {
        name: tuple(tuple(v) if isinstance(v, list) else v for v in entry[name]) for name in lists
    }
    branches = {outcome: tuple(names) for outcome, names in entry["branches"].items()}
    return PlannedStep(**{**entry, **more, "branches": branches, "fate": Fate(entry["fate"])})
