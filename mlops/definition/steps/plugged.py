"""Step types that plug-ins offer (``mlops.plugins``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mlops.definition.steps.base import Step, StepType
from mlops.definition.steps.unsupported import UnsupportedStep, unusable
from mlops.plugins import PluginFault, fault, find_step_plugin


class StepKinds(Mapping[StepType, type[Step]]):
    """The class of each step type: the house's own, a plug-in's, or one that refuses."""

    def __init__(self, own: Mapping[StepType, type[Step]]) -> None:
        self._own = own

    def __getitem__(self, kind: StepType) -> type[Step]:
        return self._own.get(kind) or _plugged(kind)

    def __iter__(self) -> Iterator[StepType]:
        return iter(StepType)

    def __len__(self) -> int:
        return len(StepType)


def _plugged(kind: StepType) -> type[Step]:
    try:
        plugin = find_step_plugin(kind)
        if plugin is None:
            return UnsupportedStep
        step = getattr(plugin, "step", None)
        if not (isinstance(step, type) and issubclass(step, Step)):
            raise fault(kind, f"its 'step' is {step!r}, no subclass of mlops.definition.Step")
        if not callable(getattr(getattr(plugin, "executor", None), "run", None)):
            raise fault(kind, "its 'executor' has no method 'run'")
    except PluginFault as error:
        return unusable(str(error))
    return step
