"""Messages of ``application/vnd.amazon.eventstream``, as the services write them.

A message is its length, its headers' length and a checksum of both; the headers; the payload; a
checksum of all before (botocore/eventstream.py reads what is written here).
"""

from __future__ import annotations

import struct
from binascii import crc32
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_PRELUDE = struct.Struct("!II")
_CHECKSUM = struct.Struct("!I")
_STRING = 7  # the type of a header's value


def event(name: str, payload: bytes, content_type: str = "application/octet-stream") -> bytes:
    """An event of the stream, with a blob."""
    headers = {":event-type": name, ":content-type": content_type, ":message-type": "event"}
    return _message(headers, payload)


def exception(name: str, document: bytes) -> bytes:
    """A modelled error in the stream; `document` is JSON."""
    headers = {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return _message(headers, document)


def _message(headers: Mapping[str, str], payload: bytes) -> bytes:
    head = b"".join(map(_header, headers, headers.values()))
    length = _PRELUDE.size + _CHECKSUM.size + len(head) + len(payload) + _CHECKSUM.size
    prelude = _PRELUDE.pack(length, len(head))
    message = prelude + _CHECKSUM.pack(crc32(prelude)) + head + payload
    return message + _CHECKSUM.pack(crc32(message))


def _header(name: str, value: str) -> bytes:
    label, text = name.encode(), value.encode()
    return bytes((len(label),)) + label + struct.pack("!BH", _STRING, len(text)) + text
