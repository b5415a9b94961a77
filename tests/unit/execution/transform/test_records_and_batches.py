"""Files cut into records and put together into requests. Rules: API Reference, TransformInput."""

from __future__ import annotations

import io
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.execution.transform.batches import multiple, single
from mlops.execution.transform.records import RECORDIO_MAGIC, BadRecord, records

FRAMES = ("RecordIO", "TFRecord")


def recordio(data: bytes, kind: int = 0) -> bytes:
    head = struct.pack("<II", RECORDIO_MAGIC, kind << 29 | len(data))
    return head + data + bytes(-len(data) % 4)


def tf_record(data: bytes) -> bytes:
    return struct.pack("<QI", len(data), 1) + data + struct.pack("<I", 2)


def framed(split_type: str, data: bytes) -> bytes:
    return {"RecordIO": recordio, "TFRecord": tf_record}[split_type](data)


def cut(content: bytes, split_type: str, most: int | None = None) -> list[bytes]:
    return [record.data for record in records(io.BytesIO(content), split_type, most)]


def test_none_makes_the_whole_file_one_record() -> None:
    assert cut(b"a\nb\n", "None") == [b"a\nb\n"]
    assert cut(b"", "None") == [b""]


@pytest.mark.parametrize(
    "content", [b"a,1\nb,2\n", b"a,1\nb,2", b"a,1\r\n\r\nb,2\r\n", b"\na,1\n\nb,2\n\n"]
)
def test_line_cuts_after_newlines(content: bytes) -> None:
    assert cut(content, "Line") == [b"a,1", b"b,2"]


@pytest.mark.parametrize("split_type", FRAMES)
@given(st.lists(st.binary(max_size=40), max_size=8))
def test_frames_are_taken_off_and_kept(split_type: str, contents: list[bytes]) -> None:
    whole = b"".join(framed(split_type, data) for data in contents)
    found = list(records(io.BytesIO(whole), split_type, None))
    assert [record.data for record in found] == contents
    assert b"".join(record.framed for record in found) == whole


def test_a_record_in_parts_held_the_magic_number() -> None:
    parts = recordio(b"abcd", 1) + recordio(b"efgh", 2) + recordio(b"ij", 3)
    magic = struct.pack("<I", RECORDIO_MAGIC)
    assert cut(parts, "RecordIO") == [b"abcd" + magic + b"efgh" + magic + b"ij"]


@pytest.mark.parametrize(
    ("content", "split_type", "said"),
    [
        (b"no frame at all", "RecordIO", "magic number is missing"),
        (recordio(b"abcd")[:-1], "RecordIO", "record 1 is cut off"),
        (recordio(b"a") + b"\n", "RecordIO", "record 2 is cut off"),
        (recordio(b"abcd", 2), "RecordIO", "in disorder"),
        (recordio(b"abcd", 1) + recordio(b"efgh"), "RecordIO", "in disorder"),
        (tf_record(b"abcd")[:-1], "TFRecord", "record 1 is cut off"),
        (b"short", "TFRecord", "record 1 is cut off"),
    ],
)
def test_what_is_no_such_file(content: bytes, split_type: str, said: str) -> None:
    with pytest.raises(BadRecord, match=said):
        cut(content, split_type)


@pytest.mark.parametrize(
    ("content", "split_type"),
    [
        (b"x" * 11, "None"),
        (b"ok\n" + b"x" * 11 + b"\n", "Line"),
        (b"x" * 10_000, "Line"),
        (recordio(b"x" * 11), "RecordIO"),
        (tf_record(b"x" * 11), "TFRecord"),
        (struct.pack("<QI", 2**60, 1), "TFRecord"),
    ],
)
def test_a_record_above_max_payload_is_an_error(content: bytes, split_type: str) -> None:
    with pytest.raises(BadRecord, match="larger than MaxPayloadInMB allows"):
        cut(content, split_type, 10)
    assert cut(b"x" * 10, "Line", 10) == [b"x" * 10]


LINES = st.lists(st.binary(min_size=1, max_size=30).filter(lambda line: not set(line) & {10, 13}))


@given(LINES, st.integers(min_value=31, max_value=100))
def test_multi_record_loses_nothing_and_keeps_to_the_limit(lines: list[bytes], most: int) -> None:
    content = b"".join(line + b"\n" for line in lines)
    batches = list(multiple(records(io.BytesIO(content), "Line", most), most))
    assert b"".join(batch.body for batch in batches) == content
    assert [record for batch in batches for record in batch.records] == lines
    assert all(len(batch.body) <= most for batch in batches)
    for one, other in itertools.pairwise(batches):  # as many as fit
        assert len(one.body) + len(other.records[0]) + 1 > most


@given(LINES)
def test_single_record_sends_each_without_its_newline(lines: list[bytes]) -> None:
    content = b"".join(line + b"\n" for line in lines)
    batches = list(single(records(io.BytesIO(content), "Line", None)))
    assert [batch.body for batch in batches] == lines


@pytest.mark.parametrize("split_type", FRAMES)
def test_padding_is_removed_for_single_records_only(split_type: str) -> None:
    whole = framed(split_type, b"abc") + framed(split_type, b"defgh")
    alone = [batch.body for batch in single(records(io.BytesIO(whole), split_type, None))]
    assert alone == [b"abc", b"defgh"]
    (together,) = multiple(records(io.BytesIO(whole), split_type, None), None)
    assert together.body == whole
