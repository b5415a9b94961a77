"""What runs next in an execution, and what its conditions say. Pure: the driver acts."""

from __future__ import annotations

from mlops.engine.conditions import evaluate_conditions, explain_conditions
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
    "RunStatus",
    "StepState",
    "dependencies",
    "evaluate_conditions",
    "explain_conditions",
]
