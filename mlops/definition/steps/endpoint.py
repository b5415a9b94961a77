"""Endpoint: ``Arguments`` is a CreateEndpoint request; UpdateEndpoint is called where it exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("CacheConfig",)
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = ("EndpointConfigName",)
