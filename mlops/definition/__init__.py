"""The definition of a pipeline: its JSON, parsed into a typed tree and validated. Pure.

``parse_definition`` gives a ``PipelineDefinition`` or every problem there is; ``bind_parameters``
types the values an execution is started with; ``resolve`` turns an expression of the tree into the
value that it has in one execution (a ``Scope``).

Reading order: ``document`` (the stages), ``expressions/base``, ``steps/base``, ``conditions/base``,
``graph``. One file per construct, a registry in each package's ``__init__``.
"""

from __future__ import annotations

from mlops.definition.caching import CacheConfig
from mlops.definition.conditions.base import Condition
from mlops.definition.document import parse_definition
from mlops.definition.expressions.base import (
    Expression,
    ListExpression,
    Literal,
    ObjectExpression,
    Reference,
)
from mlops.definition.expressions.get_execution_variable import (
    ExecutionVariable,
    GetExecutionVariable,
)
from mlops.definition.expressions.get_experiment_config import GetExperimentConfig
from mlops.definition.expressions.get_parameter import GetParameter
from mlops.definition.expressions.get_step_property import GetStepProperty
from mlops.definition.expressions.join import Join
from mlops.definition.expressions.json_get import GetPropertyFile, JsonGet
from mlops.definition.graph import DependencyGraph, Gate
from mlops.definition.parameters import Parameter, ParameterType
from mlops.definition.pipeline import PipelineDefinition, bind_parameters
from mlops.definition.property_file import PropertyFile
from mlops.definition.property_path import NAME_MEMBERS, Index, Key, Member, Segment
from mlops.definition.resolve import resolve
from mlops.definition.retry import RetryPolicy
from mlops.definition.scope import JsonValue, ParameterValue, Scope
from mlops.definition.steps import RUNNABLE
from mlops.definition.steps.base import Step, StepType
from mlops.definition.steps.callback import CallbackStep
from mlops.definition.steps.condition import ConditionStep
from mlops.definition.steps.fail import FailStep
from mlops.definition.steps.lambda_ import LambdaStep
from mlops.definition.steps.model import ModelStep
from mlops.definition.steps.output_parameters import OutputParameter, OutputType
from mlops.definition.steps.processing import ProcessingStep
from mlops.definition.steps.register_model import RegisterModelStep
from mlops.definition.steps.training import TrainingStep
from mlops.definition.text import render_text, render_texts
from mlops.definition.trigger import Trigger

__all__ = [
    "NAME_MEMBERS",
    "RUNNABLE",
    "CacheConfig",
    "CallbackStep",
    "Condition",
    "ConditionStep",
    "DependencyGraph",
    "ExecutionVariable",
    "Expression",
    "FailStep",
    "Gate",
    "GetExecutionVariable",
    "GetExperimentConfig",
    "GetParameter",
    "GetPropertyFile",
    "GetStepProperty",
    "Index",
    "Join",
    "JsonGet",
    "JsonValue",
    "Key",
    "LambdaStep",
    "ListExpression",
    "Literal",
    "Member",
    "ModelStep",
    "ObjectExpression",
    "OutputParameter",
    "OutputType",
    "Parameter",
    "ParameterType",
    "ParameterValue",
    "PipelineDefinition",
    "ProcessingStep",
    "PropertyFile",
    "Reference",
    "RegisterModelStep",
    "RetryPolicy",
    "Scope",
    "Segment",
    "Step",
    "StepType",
    "TrainingStep",
    "Trigger",
    "bind_parameters",
    "parse_definition",
    "render_text",
    "render_texts",
    "resolve",
]
