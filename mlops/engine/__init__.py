"""What runs next in an execution, and what its conditions say. Pure: the driver acts."""

from __future__ import annotations

from mlops.engine.conditions import evaluate_conditions, explain_conditions
from mlops.engine.replay import PastStep, replay
from mlops.engine.retry import Retry, exception_type, next_retry
from mlops.engine.selection import Selection, steps_before
from mlops.engine.state import (
    FAILURE_REASON,
    ExecutionState,
    RunStatus,
    StepState,
    dependencies,
)

__all__ = [
    "FAILURE_REASON",
    "ExecutionState",
    "PastStep",
    "Retry",
    "RunStatus",
    "Selection",
    "StepState",
    "dependencies",
    "evaluate_conditions",
    "exception_type",
    "explain_conditions",
    "next_retry",
    "replay",
    "steps_before",
]
