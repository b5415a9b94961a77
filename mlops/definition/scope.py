"""What an expression may ask for while it is resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

JsonValue: TypeAlias = Any
"""None, bool, int, float, str, list or dict, as the document has it."""

ParameterValue: TypeAlias = str | int | float | bool


class Scope(Protocol):
    """One execution as its expressions see it, at one moment."""

    @property
    def parameters(self) -> Mapping[str, ParameterValue]:
        """What ``bind_parameters`` returned."""
        ...

    @property
    def execution_variables(self) -> Mapping[str, str]:
        """``PipelineName``, ``PipelineExecutionId``, … without the ``Execution.`` before them.

        ``TrainingJobName`` and ``ProcessingJobName`` are those of the step being resolved.
        """
        ...

    def step_outputs(self, step_name: str) -> Mapping[str, JsonValue]:
        """What a succeeded step offers: the Describe answer of its job.

        A condition step offers ``{"Outcome": "true"}`` or ``"false"``; a Lambda or callback step
        ``{"OutputParameters": {name: value}}``.
        """
        ...

    def read_text(self, s3_uri: str) -> str:
        """The text of an object, for ``Std:JsonGet``.

        Raises:
            StoreError: there is no such object.
        """
        ...
