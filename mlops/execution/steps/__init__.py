"""One small executor for each step type; a new type is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.definition import StepType
from mlops.execution.step_run import StepExecutor
from mlops.execution.steps.callback import CallbackExecutor
from mlops.execution.steps.condition import ConditionExecutor
from mlops.execution.steps.endpoint import EndpointExecutor
from mlops.execution.steps.endpoint_config import EndpointConfigExecutor
from mlops.execution.steps.fail import FailExecutor
from mlops.execution.steps.lambda_ import LambdaExecutor
from mlops.execution.steps.model import ModelExecutor
from mlops.execution.steps.plugged import plugged_executor
from mlops.execution.steps.processing import ProcessingExecutor
from mlops.execution.steps.register_model import RegisterModelExecutor
from mlops.execution.steps.training import TrainingExecutor
from mlops.execution.steps.transform import TransformExecutor


class _Executors(dict[StepType, StepExecutor]):
    """The house's own; of another type, what its plug-in offers (``mlops.plugins``)."""

    def __missing__(self, kind: StepType) -> StepExecutor:
        return plugged_executor(kind)


EXECUTORS: Mapping[StepType, StepExecutor] = _Executors(
    {
        StepType.PROCESSING: ProcessingExecutor(),
        StepType.TRAINING: TrainingExecutor(),
        StepType.TRANSFORM: TransformExecutor(),
        StepType.CONDITION: ConditionExecutor(),
        StepType.FAIL: FailExecutor(),
        StepType.REGISTER_MODEL: RegisterModelExecutor(),
        StepType.MODEL: ModelExecutor(),
        StepType.ENDPOINT_CONFIG: EndpointConfigExecutor(),
        StepType.ENDPOINT: EndpointExecutor(),
        StepType.LAMBDA: LambdaExecutor(),
        StepType.CALLBACK: CallbackExecutor(),
    }
)

NAMED_JOBS = frozenset(
    {
        StepType.PROCESSING,
        StepType.TRAINING,
        StepType.TRANSFORM,
        StepType.MODEL,
        StepType.ENDPOINT_CONFIG,
        StepType.ENDPOINT,
    }
)
"""The types whose steps make something that has a name: a job, a model, an endpoint."""

REPEATABLE = frozenset(
    {
        StepType.CALLBACK,
        StepType.PROCESSING,
        StepType.TRAINING,
        StepType.TRANSFORM,
        StepType.CONDITION,
        StepType.FAIL,
        StepType.REGISTER_MODEL,
        StepType.MODEL,
    }
)
"""The types whose steps can be run again from the beginning when a gateway was killed in their
midst: those that make jobs announce them before they start them, the others do the same again."""
