"""A whole definition, parsed and found valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from mlops.definition.expressions.base import Expression, Literal
from mlops.definition.graph import DependencyGraph, build_graph, walk
from mlops.definition.parameters import Parameter, bind_values
from mlops.definition.scope import JsonValue, ParameterValue
from mlops.definition.steps.base import Step


@dataclass(frozen=True)
class PipelineDefinition:
    """The typed tree of a pipeline's definition."""

    version: str
    parameters: tuple[Parameter, ...]
    steps: tuple[Step, ...]
    """The top level; nested steps are in their condition step's branches."""
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    experiment_config: Expression = field(default_factory=lambda: Literal({}))
    """``PipelineExperimentConfig``; resolves to {} where the definition has none."""

    def all_steps(self) -> tuple[Step, ...]:
        """Every step, each before those nested in it, in the order of the document."""
        return tuple(self._by_name.values())

    def step(self, name: str) -> Step:
        """The step of a name, nested or not.

        Raises:
            KeyError: there is none.
        """
        return self._by_name[name]

    @cached_property
    def graph(self) -> DependencyGraph:
        """Which step waits for which; it has no cycles."""
        return build_graph(self.steps)

    @cached_property
    def _by_name(self) -> Mapping[str, Step]:
        return {step.name: step for step in walk(self.steps)}


def bind_parameters(
    definition: PipelineDefinition, given: Mapping[str, str]
) -> Mapping[str, ParameterValue]:
    """The value of every parameter of a definition: the given text by its type, else the default.

    Raises:
        ParameterError: a parameter is unknown, missing, empty, of the wrong type or none of its
            allowed values; one error names them all.
    """
    return bind_values(definition.parameters, given)
