"""The step types. A new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.definition.steps.base import Step, StepType
from mlops.definition.steps.callback import CallbackStep
from mlops.definition.steps.condition import ConditionStep
from mlops.definition.steps.endpoint import EndpointStep
from mlops.definition.steps.endpoint_config import EndpointConfigStep
from mlops.definition.steps.fail import FailStep
from mlops.definition.steps.lambda_ import LambdaStep
from mlops.definition.steps.model import ModelStep
from mlops.definition.steps.plugged import StepKinds
from mlops.definition.steps.processing import ProcessingStep
from mlops.definition.steps.register_model import RegisterModelStep
from mlops.definition.steps.training import TrainingStep
from mlops.definition.steps.transform import TransformStep

RUNNABLE: Mapping[StepType, type[Step]] = {
    StepType.PROCESSING: ProcessingStep,
    StepType.TRAINING: TrainingStep,
    StepType.TRANSFORM: TransformStep,
    StepType.CONDITION: ConditionStep,
    StepType.FAIL: FailStep,
    StepType.REGISTER_MODEL: RegisterModelStep,
    StepType.MODEL: ModelStep,
    StepType.ENDPOINT_CONFIG: EndpointConfigStep,
    StepType.ENDPOINT: EndpointStep,
    StepType.LAMBDA: LambdaStep,
    StepType.CALLBACK: CallbackStep,
}

STEP_KINDS: Mapping[StepType, type[Step]] = StepKinds(RUNNABLE)
