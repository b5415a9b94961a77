"""Records, put together into the bodies of requests by the ``BatchStrategy``.

``SingleRecord`` sends each record by itself, without its framing; ``MultiRecord`` sends as many as
fit ``MaxPayloadInMB``, with it (the API Reference, TransformInput: SplitType). Records stay in
their order, and every record is in just one request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlops.execution.transform.records import Record


@dataclass(frozen=True, slots=True)
class Batch:
    """One request: its body, and the records in it, without their framing."""

    body: bytes
    records: tuple[bytes, ...]


def single(records: Iterable[Record]) -> Iterator[Batch]:
    """A request for each record."""
    for record in records:
        yield Batch(record.data, (record.data,))


def multiple(records: Iterable[Record], most: int | None) -> Iterator[Batch]:
    """Requests of at most `most` bytes, each with as many records as fit.

    A record that is within the limit only without its framing gets a request of its own.
    """
    waiting: list[Record] = []
    size = 0
    for record in records:
        if waiting and most is not None and size + len(record.framed) > most:
            yield _together(waiting)
            waiting, size = [], 0
        waiting.append(record)
        size += len(record.framed)
    if waiting:
        yield _together(waiting)


def _together(records: list[Record]) -> Batch:
    return Batch(
        b"".join(record.framed for record in records), tuple(record.data for record in records)
    )
