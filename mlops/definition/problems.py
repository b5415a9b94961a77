"""The problems found so far: a definition is read to its end before it is refused."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from mlops.definition.location import Location
from mlops.errors import DefinitionError, Problem


class Problems:
    """Collects every broken rule, in the order in which they were met."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, location: Location, message: str, *, only_here: bool = False) -> None:
        self._found.append(Problem(str(location), message, only_here))

    def __len__(self) -> int:
        return len(self._found)

    def raise_if_any(self) -> None:
        """Raises:
        DefinitionError: with all of them, when there is at least one.
        """
        if self._found:
            raise DefinitionError(
                self._found, next_step="mend the definition and compile or send it again"
            )


_MOST_COMPARED = 500  # comparing with more takes long, and every step may refer to a wrong name


def suggestion(name: str, known: Collection[str]) -> str:
    """``; did you mean 'Train'?``, or the names there are, or nothing where that would not help."""
    if not known or len(known) > _MOST_COMPARED:
        return ""
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    return f"; there are: {shown}"


def json_type(value: object) -> str:
    """The name of a value's JSON type, for messages."""
    names: dict[type, str] = {
        type(None): "null",
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)
