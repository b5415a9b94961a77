"""Training: ``Arguments`` is a CreateTrainingJob request without the job's name.

``@step`` functions and notebook jobs are training steps too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStep(Step):
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "AlgorithmSpecification",
        "OutputDataConfig",
        "ResourceConfig",
        "RoleArn",
    )
