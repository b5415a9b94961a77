"""What `validate` finds, and where."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    ERROR = "error"
    """The pipeline is refused, or fails for certain."""
    WARNING = "warning"
    """It runs here; what it means, or how SageMaker takes it, is worth a look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``path`` is a JSON path into the definition, such as ``Steps[2].Arguments.RoleArn``."""

    severity: Severity
    path: str
    message: str
    only_here: bool = False
    """SageMaker may take it; this machine cannot run it."""


@dataclass(frozen=True, slots=True)
class Validation:
    """All that was found in one pipeline, errors first, in the order of the document."""

    pipeline: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if each.severity is Severity.WARNING)
