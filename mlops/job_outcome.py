"""How a job ended, kept in a file: for a gateway that is killed before it has recorded it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mlops.ports import JobOutcome


def keep_outcome(file: Path | None, outcome: JobOutcome) -> None:
    """Write `outcome` to `file`, whole or not at all; nothing where there is no file to write.

    Raises:
        OSError: nothing can be written.
    """
    if file is not None:
        part = file.with_name(f"{file.name}.part")
        part.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        part.replace(file)


def kept_outcome(file: Path) -> JobOutcome | None:
    """What `keep_outcome` wrote; None where it did not."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return JobOutcome(**json.loads(text))
