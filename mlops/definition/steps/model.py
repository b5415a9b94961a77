"""Model: ``Arguments`` is a CreateModel request without the model's name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStep(Step):
    # The service's model requires only the name; a model without a container cannot be made, but
    # PrimaryContainer and Containers are alternatives.
    MEMBERS: ClassVar[tuple[str, ...]] = ("RetryPolicies",)
