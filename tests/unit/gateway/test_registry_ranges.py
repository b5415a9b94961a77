"""Bytes of a layer to send, and of an upload that arrives."""

from __future__ import annotations

import pytest

from mlops.gateway.registry.failures import RegistryError
from mlops.gateway.registry.ranges import check_chunk, range_to_send, received_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("items=0-1", None),
        ("bytes=0-1,4-5", None),
        ("bytes=5-4", None),
        ("bytes=0-0", (0, 0)),
        ("bytes=2-", (2, 9)),
        ("bytes=2-400", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-300", (0, 9)),
    ],
)
def test_what_is_sent_of_ten_bytes(header: str | None, expected: tuple[int, int] | None) -> None:
    assert range_to_send(header, 10) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_nothing_there(header: str, size: int) -> None:
    with pytest.raises(RegistryError) as refused:
        range_to_send(header, size)
    assert refused.value.status == 416
    assert refused.value.headers == {"Content-Range": f"bytes */{size}"}


@pytest.mark.parametrize(
    ("content_range", "length", "received"),
    [(None, 5, 3), ("0-4", 5, 0), ("3-7", 5, 3), ("3-7", None, 3), ("bytes 3-7", 5, 3)],
)
def test_chunks_in_order(content_range: str | None, length: int | None, received: int) -> None:
    check_chunk(content_range, length, received)


@pytest.mark.parametrize(
    ("content_range", "length", "received", "status"),
    [
        ("0-4", 5, 3, 416),
        ("4-8", 5, 3, 416),
        ("x", 5, 0, 416),
        ("0-", 5, 0, 416),
        ("0-4", 6, 0, 400),
        ("0-" + "9" * 30, 6, 0, 416),
    ],
)
def test_chunks_out_of_order(
    content_range: str, length: int | None, received: int, status: int
) -> None:
    with pytest.raises(RegistryError) as refused:
        check_chunk(content_range, length, received)
    assert refused.value.status == status
    if status == 416:
        assert refused.value.headers["Range"] == received_range(received)


def test_an_empty_upload_has_a_range_too() -> None:
    assert [received_range(size) for size in (0, 1, 10)] == ["0-0", "0-0", "0-9"]
