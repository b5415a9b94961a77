"""Runs pipelines: threads, one small executor for each step type, events, logs.

Reading order: ``manager`` (the public face), ``driver`` (one execution), ``step_run`` (what driver
and executors say to one another), ``steps/job`` (a job from request to Describe answer),
``direct_jobs`` (jobs without a pipeline), ``container`` and ``opt_ml`` (what the job's container
finds).
"""

from __future__ import annotations

from mlops.execution.callbacks import Callbacks
from mlops.execution.direct_jobs import DirectJobs
from mlops.execution.manager import ExecutionManager

__all__ = ["Callbacks", "DirectJobs", "ExecutionManager"]
