"""Which bytes: of a layer to send, and of an upload that arrives. Pure.

Ranges of a layer are RFC 9110's. Those of an upload are the distribution specification's
("Pushing a blob in chunks"): ``<first>-<last>`` without a unit, in order.
"""

from __future__ import annotations

import re

from mlops.gateway.registry.failures import RegistryError

_BYTES = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CHUNK = re.compile(r"(\d{1,18})-(\d{1,18})")


def range_to_send(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte that are asked for; None for the whole.

    A range that cannot be read, or several, count as none (RFC 9110, 14.2).

    Raises:
        RegistryError: nothing of the range is there.
    """
    found = _BYTES.fullmatch((header or "").strip())
    if found is None or found[1] == found[2] == "":
        return None
    if not found[1]:
        first, last = max(size - int(found[2]), 0), size - 1
    else:
        first, last = int(found[1]), min(int(found[2] or size), size - 1)
        if found[2] and int(found[2]) < first:
            return None
    if first >= size or last < first:
        raise RegistryError(
            "RANGE_INVALID",
            f"The layer has {size} bytes",
            status=416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last


def received_range(size: int) -> str:
    """The Range header of an upload that has so many bytes; of an empty one it is 0-0, too."""
    return f"0-{max(size - 1, 0)}"


def check_chunk(content_range: str | None, length: int | None, received: int) -> None:
    """Hold a chunk's Content-Range against its length and what has come before.

    Raises:
        RegistryError: it is out of order (416), or is of another size than it says (400).
    """
    if content_range is None:
        return
    found = _CHUNK.fullmatch(content_range.strip().removeprefix("bytes "))
    if found is None or int(found[1]) != received:
        raise RegistryError(
            "RANGE_INVALID",
            f"The next chunk of this upload begins at {received}",
            status=416,
            headers={"Range": received_range(received)},
        )
    if length is not None and int(found[2]) - int(found[1]) + 1 != length:
        raise RegistryError(
            "SIZE_INVALID",
            f"The chunk is said to be {content_range} and has {length} bytes",
            status=400,
        )
