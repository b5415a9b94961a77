"""Transform: ``Arguments`` is a CreateTransformJob request without the job's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformStep(Step):
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "ModelName",
        "TransformInput",
        "TransformOutput",
        "TransformResources",
    )
