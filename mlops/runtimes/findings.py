"""What a look at this machine found, for `mlops doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FindingStatus(StrEnum):
    OK = "ok"
    LACKING = "lacking"
    """Something does not work here, and something else does in its place."""
    BROKEN = "broken"
    """Something does not work here, and nothing makes up for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about this machine: what it is, how it is, and how to mend it."""

    name: str
    status: FindingStatus
    text: str
    mend: str | None = None
