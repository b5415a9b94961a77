"""What is said in signs, on a stream that has no such signs: `LC_ALL=C`, old terminals, some CI."""

from __future__ import annotations

import codecs
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
    "²": "2",
}
HANDLER = "mlops-stand-ins"


def say_what_the_streams_can() -> None:
    """Let stdout and stderr write every text: what their encoding lacks, by a stand-in or `?`."""
    codecs.register_error(HANDLER, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(STAND_INS.get(sign, "?") for sign in text), error.end
