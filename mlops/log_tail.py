"""The end of a log, as it is told to people."""

from __future__ import annotations

from pathlib import Path

TAIL_LINES = 20
_TAIL_BYTES = 64 * 1024


def last_lines(log: Path, count: int = TAIL_LINES) -> list[str]:
    """The last `count` lines with something in them, without their line ends."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", "replace")
    # A progress bar redraws its line with \r: only what stood there last counts.
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))
    return [line for line in lines if line][-count:]
