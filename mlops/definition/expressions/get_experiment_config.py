"""``{"Get": "PipelineExperimentConfig.ExperimentName"}``

SDK: ``sagemaker.workflow.pipeline_experiment_config.PipelineExperimentConfigProperties``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mlops.definition.declarations import Declarations
from mlops.definition.expressions.base import Expression, ExpressionReader, Reference
from mlops.definition.expressions.get import NamespaceReader
from mlops.definition.location import Location
from mlops.definition.problems import suggestion
from mlops.definition.scope import JsonValue, Scope

ExperimentConfig: TypeAlias = Mapping[str, Expression]
"""The members of the definition's ``PipelineExperimentConfig``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetExperimentConfig(Reference):
    """What the definition calls its experiment or trial."""

    name: str
    config: ExperimentConfig

    def check(self, declared: Declarations) -> str | None:
        if self.name in self.config:
            return None
        return f"PipelineExperimentConfig has no {self.name!r}" + suggestion(self.name, self.config)

    def resolve(self, scope: Scope) -> JsonValue:
        return self.config[self.name].resolve(scope)


def experiment_config_reader(config: ExperimentConfig) -> NamespaceReader:
    """The reader of these references for a definition with this config."""

    def read(name: str, location: Location, reader: ExpressionReader) -> Expression:
        return reader.refer(GetExperimentConfig(name=name, config=config, location=location))

    return read
