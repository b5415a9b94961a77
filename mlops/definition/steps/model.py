"""Model: ``Arguments`` is a CreateModel request without the model's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("RetryPolicies",)
    ONE_OF_ARGUMENTS: ClassVar[tuple[str, ...]] = ("PrimaryContainer", "Containers")
