"""Filter patterns of FilterLogEvents for unstructured text.

By "Filter pattern syntax for unstructured log events" (CloudWatch Logs user guide): every term
must be in the message, a term after ``-`` must not, of those after ``?`` one must; ``"…"`` is a
term with spaces or signs. Patterns for JSON (``{ … }``), for columns (``[ … ]``) and regular
expressions (``%…%``) are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from mlops.errors import ServiceError

_TERM = re.compile(r'\s*(?P<sign>[-?]?)(?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>[^\s"]+))')


def message_filter(pattern: str | None) -> Callable[[str], bool]:
    """Whether a message matches; every message does without a pattern.

    Raises:
        ServiceError: ``InvalidParameterException``: a pattern of a kind that is not here.
    """
    text = (pattern or "").strip()
    if text[:1] in ("{", "[", "%"):
        raise ServiceError(
            "InvalidParameterException",
            f"The local gateway filters by terms, not by JSON, columns or expressions: {text}",
        )
    all_of: list[str] = []
    none_of: list[str] = []
    one_of: list[str] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None:
            raise ServiceError("InvalidParameterException", f"Invalid filter pattern: {text}")
        term = match["plain"] or re.sub(r"\\(.)", r"\1", match["quoted"] or "")
        {"": all_of, "-": none_of, "?": one_of}[match["sign"]].append(term)
        at = match.end()

    def matches(message: str) -> bool:
        return (
            all(term in message for term in all_of)
            and not any(term in message for term in none_of)
            and (not one_of or any(term in message for term in one_of))
        )

    return matches
