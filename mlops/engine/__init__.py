"""What runs next in an execution, and what its conditions say. Pure: the driver acts."""

from __future__ import annotations

from mlops.engine.conditions import evaluate_conditions, explain_conditions
from mlops.engine.retry import Retry, exception_type, next_retry
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
    "Retry",
    "RunStatus",
    "StepState",
    "dependencies",
    "evaluate_conditions",
    "exception_type",
    "explain_conditions",
    "next_retry",
]
