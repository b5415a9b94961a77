"""Text that any stream can take: stand-ins for signs that an encoding lacks, no control codes."""

from __future__ import annotations

import codecs
import re
import sys
from io import TextIOWrapper

STAND_INS = {
    "·": "-",
    "…": "...",
    "✓": "+",
    "✗": "x",
    "■": "#",
    "│": "|",
    "─": "-",
    "━": "=",
    "—": "-",
    "→": "->",
    "≠": "!",
    "²": "2",
}
HANDLER = "mlops-stand-ins"
CONTROLS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor moves
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles, links
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
"""What moves a terminal's cursor or changes it; tabs and line ends are text."""


def say_what_the_streams_can() -> None:
    """Let stdout and stderr write every text: what their encoding lacks, by a stand-in or `?`."""
    codecs.register_error(HANDLER, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def without_controls(text: str) -> str:
    """Text from a job, which may write what it likes, for a terminal, which must stay as it is."""
    return CONTROLS.sub("", text)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(STAND_INS.get(sign, "?") for sign in text), error.end
