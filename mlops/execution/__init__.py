"""Runs pipelines: threads, one small executor for each step type, events, logs.

Reading order: ``manager`` (the public face), ``driver`` (one execution), ``step_run`` (what driver
and executors say to one another), ``steps/job`` (a job from request to Describe answer),
``container`` and ``opt_ml`` (what the job's container finds).
"""

from __future__ import annotations

from mlops.execution.callbacks import Callbacks
from mlops.execution.manager import ExecutionManager

__all__ = ["Callbacks", "ExecutionManager"]
