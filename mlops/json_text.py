"""JSON that somebody else wrote.

Python's reader takes more than JSON has (NaN, Infinity, halves of characters, which no UTF-8 can
hold), and leaves by another door than ValueError where lists lie too deep.
"""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The document in `text`; bytes are UTF-8.

    Raises:
        ValueError: it is no JSON, or nests deeper than Python reads; the message says where.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        document = json.loads(text, parse_constant=_refuse)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(document, ensure_ascii=False).encode("utf-8")  # half of a character?
    except RecursionError:
        raise ValueError("it nests too deep") from None
    return document


def _refuse(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")
