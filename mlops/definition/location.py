"""Where a value stands in the definition, as a JSON path such as ``Steps[2].Arguments.RoleArn``."""

from __future__ import annotations

import re
from typing import Final

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_\-:]*")


class Location:
    """A chain of keys from the document's root.

    A definition has far more values than problems, so the text is made only when it is asked for.
    """

    __slots__ = ("_key", "_parent")

    def __init__(self, parent: Location | None, key: str | int) -> None:
        self._parent = parent
        self._key = key

    def child(self, key: str | int) -> Location:
        return Location(self, key)

    def __str__(self) -> str:
        parts: list[str] = []
        here: Location | None = self
        while here is not None and here._parent is not None:
            parts.append(_part(here._key))
            here = here._parent
        return "".join(reversed(parts)).lstrip(".") or "$"


def _part(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{key!r}]"


ROOT: Final = Location(None, "$")
