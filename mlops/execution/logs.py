"""What a step's log says: its one-line result, and its metrics."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.ports import JsonObject

DETAIL = b"detail: "
_BEFORE_DETAIL = re.compile(rb"(?:\[algo-\d+\] )?")
_HOST = re.compile(r"\[algo-\d+\] ")
"""What a job of several instances has before each line of its log."""


def last_detail(log: Path) -> str | None:
    """The rest of the last line that starts with ``detail: ``; None where there is none."""
    if not log.is_file() or log.stat().st_size == 0:
        return None
    with log.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        at = len(text)
        while (at := text.rfind(DETAIL, 0, at)) >= 0:
            begin = text.rfind(b"\n", 0, at) + 1
            if _BEFORE_DETAIL.fullmatch(text[begin:at]):
                break
        else:
            return None
        end = text.find(b"\n", at)
        line = text[at + len(DETAIL) : end if end >= 0 else len(text)]
    return line.decode("utf-8", "replace").strip()


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """botocore sagemaker ``MetricDefinition``: the first group of `regex` is the value."""

    name: str
    regex: re.Pattern[str]


def metric_definitions(algorithm: JsonObject) -> tuple[MetricDefinition, ...]:
    """The ``MetricDefinitions`` of an AlgorithmSpecification.

    Raises:
        ValueError: a regular expression does not compile or has no group.
    """
    definitions = []
    for given in algorithm.get("MetricDefinitions", ()):
        try:
            regex = re.compile(given["Regex"])
        except re.error as error:
            raise ValueError(
                f"The regular expression of metric {given['Name']!r} is wrong: {error}"
            ) from error
        if regex.groups == 0:
            raise ValueError(
                f"The regular expression of metric {given['Name']!r} has no group for the value"
            )
        definitions.append(MetricDefinition(given["Name"], regex))
    return tuple(definitions)


def final_metrics(
    log: Path, definitions: Sequence[MetricDefinition], at: float
) -> list[JsonObject]:
    """The last value of every metric found in the log, as ``FinalMetricDataList``."""
    if not definitions or not log.is_file():
        return []
    with log.open(encoding="utf-8", errors="replace") as lines:
        values = _last_values(lines, definitions)
    return [
        {"MetricName": definition.name, "Value": values[definition.name], "Timestamp": at}
        for definition in definitions
        if definition.name in values
    ]


def _last_values(lines: Iterable[str], definitions: Sequence[MetricDefinition]) -> dict[str, float]:
    values: dict[str, float] = {}
    for text in lines:
        line = _HOST.sub("", text, count=1) if text.startswith("[algo-") else text
        for definition in definitions:
            for match in definition.regex.finditer(line):
                number = _number(match[1])
                if number is not None:
                    values[definition.name] = number
    return values


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None  # the service, too, passes over a match that is no number
