"""Requests made up from botocore's service models: valid ones, and ones that are wrong somewhere.

Everything comes from one `random.Random`, so that a seed tells the whole request.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

DEEPEST = 6
WRONG: Sequence[Any] = (
    None,
    True,
    -1,
    2**63,
    1e400,
    0.5,
    "",
    " ",
    "\x00",
    "\ud800",
    "größer ✓",
    "x" * 70_000,
    "../../../etc/passwd",
    "%s${jndi:x}' OR 1=1 --\r\nX-Evil: 1",
    [],
    {},
    [None],
    {"": None},
    [[[[{}]]]],
)


class AnyRequest:
    """Makes values for shapes.

    Args:
        known: names and ARNs of things that are there, by a word of the members that take them; a
            request that only names what is not there does not get far.
        faults: the share of members whose value is wrong.
    """

    def __init__(
        self, rng: random.Random, known: Mapping[str, Sequence[str]], faults: float
    ) -> None:
        self._rng = rng
        self._known = known
        self._faults = faults

    def of(self, shape: Any) -> dict[str, Any]:
        """The members of a request; {} where the operation takes none."""
        return {} if shape is None else self._structure(shape, 0)

    def _any(self, shape: Any, name: str, depth: int) -> Any:
        if self._rng.random() < self._faults:
            return self._rng.choice(WRONG)
        kind = shape.type_name
        if kind == "structure":
            return self._structure(shape, depth)
        if kind == "list":
            count = self._rng.randint(shape.metadata.get("min", 0), 2) if depth < DEEPEST else 0
            return [self._any(shape.member, name, depth + 1) for _ in range(count)]
        if kind == "map":
            return {self._text(shape.key, ""): self._any(shape.value, name, depth + 1)}
        return self._scalar(shape, name)

    def _structure(self, shape: Any, depth: int) -> dict[str, Any]:
        required = set(shape.required_members)
        rare = 0.3 if depth < DEEPEST else 0.0
        return {
            name: self._any(member, name, depth + 1)
            for name, member in shape.members.items()
            if name in required or self._rng.random() < rare
        }

    def _scalar(self, shape: Any, name: str) -> Any:
        kind = shape.type_name
        limits = shape.metadata
        if kind in ("integer", "long"):
            lowest = limits.get("min", 0)
            return self._rng.randint(lowest, min(limits.get("max", lowest + 10), lowest + 10))
        if kind in ("float", "double"):
            return self._rng.uniform(limits.get("min", 0.0), limits.get("max", 1.0))
        if kind == "boolean":
            return self._rng.random() < 0.5
        if kind == "timestamp":
            return datetime.fromtimestamp(self._rng.randint(0, 2**31), UTC)
        if kind == "blob":
            return self._rng.randbytes(self._rng.randint(0, 20))
        return self._text(shape, name)

    def _text(self, shape: Any, name: str) -> str:
        if getattr(shape, "enum", None):
            return self._rng.choice(shape.enum)
        word = next((word for word in self._known if word.lower() in name.lower()), None)
        if word is not None and self._rng.random() < 0.8:
            return self._rng.choice(self._known[word])
        lowest = shape.metadata.get("min", 1)
        length = self._rng.randint(lowest, max(lowest, min(shape.metadata.get("max", 12), 12)))
        return "".join(self._rng.choice(string.ascii_letters) for _ in range(length))
