"""EndpointConfig: ``Arguments`` is a CreateEndpointConfig request.

SDK v2 keeps the name in it; the service makes it unique in each execution, so that later steps
refer to the name by the step's properties (the SDK's own integration test of these steps says so).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointConfigStep(Step):
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = ("ProductionVariants",)
