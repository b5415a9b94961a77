"""Numbers for people."""

from __future__ import annotations


def decimal(number: float) -> str:
    """A small number as a person writes it: 0.000001, never 1e-06."""
    return f"{number:.10f}".rstrip("0").rstrip(".")
