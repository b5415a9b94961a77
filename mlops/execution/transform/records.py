"""A file's bytes, cut into records by its ``SplitType``: streams, never whole files.

``Line`` cuts after each newline. ``RecordIO`` is MXNet's framing (dmlc-core ``recordio.h``: a magic
number, a word whose upper three bits say whether the record goes on in the next chunk and whose
lower 29 bits are its length, the data, zeros up to a multiple of four). ``TFRecord`` is
TensorFlow's (``record_writer.h``: length, its checksum, the data, its checksum).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

RECORDIO_MAGIC = 0xCED7230A
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEAD = struct.Struct("<II")
_TF_HEAD = struct.Struct("<QI")
_TF_CHECKSUM_BYTES = 4


class BadRecord(ValueError):
    """The file is not what its SplitType says, or a record is longer than it may be."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: as it stands in the file, and what it says without its framing."""

    framed: bytes
    data: bytes


def records(source: BinaryIO, split_type: str, most: int | None) -> Iterator[Record]:
    """The records of a file, in their order; ``None`` makes the whole file one.

    Args:
        most: no record may be longer than this, in bytes; None for any length.

    Raises:
        BadRecord: see there.
    """
    return _SPLITTERS[split_type](source, most)


def _whole(source: BinaryIO, most: int | None) -> Iterator[Record]:
    data = source.read(-1 if most is None else most + 1)
    _check_length(len(data), most, "the file")
    yield Record(data, data)


def _lines(source: BinaryIO, most: int | None) -> Iterator[Record]:
    limit = (
        -1 if most is None else most + 2
    )  # its newline, and one byte more to see that it is too long
    number = 0
    while line := source.readline(limit):
        number += 1
        data = line.removesuffix(b"\n").removesuffix(b"\r")
        _check_length(len(data), most, f"line {number}")
        if data:  # an empty line is no record
            yield Record(data + b"\n", data)


def _recordio(source: BinaryIO, most: int | None) -> Iterator[Record]:
    number = 0
    while head := source.read(_HEAD.size):
        number += 1
        framed, data, expected = b"", b"", (_WHOLE, _FIRST)
        while True:
            kind, length = _recordio_head(head, number)
            if kind not in expected:
                raise BadRecord(f"record {number} is no RecordIO: its parts are in disorder")
            _check_length(len(data) + length, most, f"record {number}")
            body = _exactly(source, length + -length % 4, number)
            framed += head + body
            # A part ends where the data held the magic number itself, which was left out.
            data += body[:length] if not data else struct.pack("<I", RECORDIO_MAGIC) + body[:length]
            if kind in (_WHOLE, _LAST):
                break
            head, expected = source.read(_HEAD.size), (_MIDDLE, _LAST)
        yield Record(framed, data)


def _recordio_head(head: bytes, number: int) -> tuple[int, int]:
    if len(head) < _HEAD.size:
        raise BadRecord(f"record {number} is cut off")
    magic, word = _HEAD.unpack(head)
    if magic != RECORDIO_MAGIC:
        raise BadRecord(f"record {number} is no RecordIO: its magic number is missing")
    return word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)


def _tf_records(source: BinaryIO, most: int | None) -> Iterator[Record]:
    number = 0
    while head := source.read(_TF_HEAD.size):
        number += 1
        if len(head) < _TF_HEAD.size:
            raise BadRecord(f"record {number} is cut off")
        length, _ = _TF_HEAD.unpack(head)
        _check_length(length, most, f"record {number}")
        body = _exactly(source, length + _TF_CHECKSUM_BYTES, number)
        yield Record(head + body, body[:length])


def _exactly(source: BinaryIO, length: int, number: int) -> bytes:
    body = source.read(length)
    if len(body) < length:
        raise BadRecord(f"record {number} is cut off")
    return body


def _check_length(length: int, most: int | None, what: str) -> None:
    if most is not None and length > most:
        raise BadRecord(f"{what} is larger than MaxPayloadInMB allows ({most:,} bytes)")


_SPLITTERS: Mapping[str, Callable[[BinaryIO, int | None], Iterator[Record]]] = {
    "None": _whole,
    "Line": _lines,
    "RecordIO": _recordio,
    "TFRecord": _tf_records,
}
SPLIT_TYPES = tuple(_SPLITTERS)
