"""Names and ARNs as the service forms them.

Seen in public answers of the service: job names are
``pipelines-<execution id>-<step, shortened>-<10 random>``, execution ids 12 lower-case
alphanumerics, display names ``execution-<epoch ms>``.
"""

from __future__ import annotations

import re
import secrets
import string
from datetime import datetime

from mlops.ports import PipelineRecord

_source = secrets.SystemRandom()
_LOWER = string.ascii_lowercase + string.digits
_MIXED = string.ascii_letters + string.digits
LONGEST_STEP_PART = 20  # with the rest below the 63 characters of a job name


def _random(alphabet: str, length: int) -> str:
    return "".join(_source.choices(alphabet, k=length))


def new_execution_id() -> str:
    return _random(_LOWER, 12)


def execution_arn(pipeline: PipelineRecord, execution_id: str) -> str:
    return f"{pipeline.arn}/execution/{execution_id}"


def display_name(now: datetime) -> str:
    return f"execution-{int(now.timestamp() * 1000)}"


def new_job_name(execution_id: str, step: str) -> str:
    """A name that fits the model's ``[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}``."""
    part = re.sub(r"[^a-zA-Z0-9]+", "-", step)[:LONGEST_STEP_PART].strip("-") or "step"
    return f"pipelines-{execution_id}-{part}-{_random(_MIXED, 10)}"


def with_custom_prefix(prefix: str, job_name: str) -> str:
    """A name that starts with the prefix that a step brings (SDK: ``use_custom_job_prefix``).

    It ends as `job_name` does, so that the same attempt at a step gives it the same name.
    """
    return f"{prefix[:52].rstrip('-')}-{job_name[-10:]}"


def job_arn(pipeline_arn: str, kind: str, name: str) -> str:
    """The ARN of a `kind` of thing (``training-job``) beside the pipeline's own."""
    return f"{pipeline_arn.rsplit(':', 1)[0]}:{kind}/{name}"


def timestamp(moment: datetime) -> float:
    """A moment as the AWS JSON protocol writes it: seconds since the epoch."""
    return round(moment.timestamp(), 3)
