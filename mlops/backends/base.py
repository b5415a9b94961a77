"""The seam between a command and the place where its pipeline runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlops.authoring import CompiledPipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """What a start can say beyond the parameters; None leaves the service's default."""

    max_parallel_steps: int | None = None
    display_name: str | None = None
    description: str | None = None
    cache_mode: str | None = None
    """One of `settings.CACHE_MODES`, or `settings.CACHE_OFF`; SageMaker knows the first mode only,
    and none of this is in the definition."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the pipeline; others that it has already stay."""


DEFAULTS = StartOptions()


class Backend(Protocol):
    """Compiles a target and starts it. A command composes these two and follows the execution."""

    @property
    def name(self) -> str:
        """``local`` or ``cloud``."""
        ...

    def compile(self, target: str | None) -> CompiledPipeline:
        """Compile TARGET, or the lab's pipeline where it is None.

        Raises:
            TargetError, DefinitionError, DataError: the target gives no pipeline.
        """
        ...

    def submit(
        self,
        pipeline: CompiledPipeline,
        parameters: Mapping[str, str],
        options: StartOptions = DEFAULTS,
    ) -> str:
        """Upload what the pipeline needs, create or update it, start it; return the ARN.

        The execution runs the definition that was submitted, even while others submit a pipeline
        of the same name.

        Raises:
            DefinitionError, ParameterError: found before anything is changed.
            DataError: a file that has to be uploaded is not here.
        """
        ...

    def describe(self, execution_arn: str) -> dict[str, Any]:
        """DescribePipelineExecution's answer."""
        ...

    def stop(self, execution_arn: str) -> None:
        """Ask an execution to stop; it ends as Stopped."""
        ...
