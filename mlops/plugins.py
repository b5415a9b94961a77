"""Plug-ins: what other installed packages offer by Python entry points.

Group ``mlops.steps``: an entry is called as the step type that it runs (``QualityCheck``), and
names an object with two members:

    step       a subclass of ``mlops.definition.Step``: how such a step is read from a definition
    executor   a ``mlops.execution.step_run.StepExecutor``: how it is carried out

Only a step type that does not run here by itself is looked for. docs/steps.md has an example.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

STEPS = "mlops.steps"


class PluginFault(Exception):
    """A plug-in cannot be used; the message names it, says why and what to do."""


def find_step_plugin(step_type: str) -> Any | None:
    """The object that offers a step type; None where no installed package does.

    Raises:
        PluginFault: it cannot be loaded, or two packages offer the type.
    """
    # Looked for anew each time: it happens for step types alone that would be refused.
    found = list({(each.value, _package(each)): each for each in _entries(step_type)}.values())
    if not found:
        return None
    if len(found) > 1:
        names = " and ".join(sorted(_package(each) for each in found))
        raise PluginFault(f"{names} both offer it; uninstall one of them")
    (entry,) = found
    try:
        return entry.load()
    except Exception as error:
        raise fault(step_type, f"{type(error).__name__}: {error}") from error


def fault(step_type: str, problem: str) -> PluginFault:
    """The fault of the plug-in that offers a step type."""
    whose = " and ".join(f"{each.value} of {_package(each)}" for each in _entries(step_type))
    return PluginFault(f"its plug-in {whose} cannot be used: {problem}; mend or uninstall it")


def _entries(step_type: str) -> list[EntryPoint]:
    return list(entry_points(group=STEPS, name=step_type))


def _package(entry: EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else str(entry.dist.name)
