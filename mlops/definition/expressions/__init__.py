"""The functions and references of a definition. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.definition.expressions.base import FunctionReader
from mlops.definition.expressions.get import get_reader
from mlops.definition.expressions.get_execution_variable import read_execution_variable
from mlops.definition.expressions.get_experiment_config import (
    ExperimentConfig,
    experiment_config_reader,
)
from mlops.definition.expressions.get_parameter import read_parameter
from mlops.definition.expressions.get_step_property import read_step_property
from mlops.definition.expressions.join import read_join
from mlops.definition.expressions.json_get import json_get_reader
from mlops.definition.property_file import PropertyFiles


def functions(files: PropertyFiles, experiment: ExperimentConfig) -> Mapping[str, FunctionReader]:
    """The functions by their keys, for a definition with these property files and this config."""
    return {
        "Get": get_reader(
            {
                "Parameters": read_parameter,
                "Execution": read_execution_variable,
                "Steps": read_step_property,
                "PipelineExperimentConfig": experiment_config_reader(experiment),
            }
        ),
        "Std:Join": read_join,
        "Std:JsonGet": json_get_reader(files),
    }
