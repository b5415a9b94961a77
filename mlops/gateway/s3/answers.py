"""What the S3 face answers with: a response as a value, S3's XML, and its errors."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from hashlib import sha256
from typing import BinaryIO, TypeAlias

from mlops.errors import (
    DiskFull,
    InvalidKey,
    MlopsError,
    NoSuchBucket,
    NoSuchKey,
    ServiceError,
)

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
STREAM_BYTES = 1 << 18
OWNER_ID = sha256(b"mlops").hexdigest()
"""The canonical user id of everything here: 64 hexadecimal digits, as in S3."""

XmlValue: TypeAlias = "str | int | bool | datetime | Nodes | None"
Nodes: TypeAlias = "list[tuple[str, XmlValue]]"
"""Child elements in order; a name may come more than once, a value of None is left out."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileBody = b""


class FileBody:
    """The bytes of an open file from `start`, `length` of them, a piece at a time."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        left = self.length
        while left:
            data = self._file.read(min(left, STREAM_BYTES))
            if not data:
                # Someone shortened the file in place. The connection must not look complete.
                raise EOFError("an object's file became shorter while it was sent")
            left -= len(data)
            yield data

    def close(self) -> None:
        self._file.close()


# --- XML ---

# What XML 1.0 cannot hold as a character; S3 writes references to them all the same, and
# clients that care ask for encoding-type=url.
_SPECIAL = re.compile(r"[&<>\"\x00-\x08\x0b\x0c\x0d\x0e-\x1f\ufffe\uffff]")


def xml(root: str, nodes: Nodes) -> bytes:
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    body = "".join(_element(name, value) for name, value in nodes)
    return f'{head}<{root} xmlns="{NAMESPACE}">{body}</{root}>'.encode()


def xml_response(
    root: str, nodes: Nodes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(
        status, {"Content-Type": "application/xml", **(headers or {})}, xml(root, nodes)
    )


def _element(name: str, value: XmlValue) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        text = "".join(_element(child, inner) for child, inner in value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, datetime):
        text = iso_moment(value)
    else:
        text = _escaped(str(value))
    return f"<{name}>{text}</{name}>"


def _escaped(text: str) -> str:
    return _SPECIAL.sub(_reference, text)


def _reference(match: re.Match[str]) -> str:
    known = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}
    return known.get(match[0]) or f"&#x{ord(match[0]):x};"


def iso_moment(moment: datetime) -> str:
    """As S3 writes times in XML: milliseconds, always zero, and Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def http_moment(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def quoted(etag: str) -> str:
    return f'"{etag}"'


def owner(name: str = "Owner") -> tuple[str, Nodes]:
    return name, [("ID", OWNER_ID), ("DisplayName", "mlops")]


# --- Errors ---


class S3Error(ServiceError):
    """An error answer with headers of its own."""

    def __init__(self, code: str, message: str, *, status: int, headers: Mapping[str, str]) -> None:
        self.headers = headers
        super().__init__(code, message, status=status)


def not_implemented(operation: str) -> ServiceError:
    return ServiceError(
        "NotImplemented",
        f"{operation} is not implemented by the local S3: run it against S3 itself.",
        status=501,
    )


def invalid_argument(message: str) -> ServiceError:
    return ServiceError("InvalidArgument", message)


def as_service_error(error: MlopsError) -> ServiceError:
    """The S3 error that a client sees for an error of the store.

    S3 has no code for a full disk. The status is one that botocore does not retry.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, NoSuchBucket):
        return ServiceError("NoSuchBucket", "The specified bucket does not exist", status=404)
    if isinstance(error, NoSuchKey):
        return ServiceError("NoSuchKey", "The specified key does not exist.", status=404)
    if isinstance(error, InvalidKey):
        return ServiceError("InvalidURI", f"Couldn't parse the specified URI. {error}")
    if isinstance(error, DiskFull):
        return ServiceError("InsufficientStorage", str(error), status=507)
    return ServiceError("InternalError", str(error), status=500)


def error_response(error: ServiceError, resource: str, request_id: str) -> Response:
    nodes: Nodes = [
        ("Code", error.code),
        ("Message", str(error)),
        ("Resource", resource),
        ("RequestId", request_id),
        ("HostId", "mlops"),
    ]
    text = "".join(_element(name, value) for name, value in nodes)
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{text}</Error>'.encode()
    own = error.headers if isinstance(error, S3Error) else {}
    return Response(error.status, {"Content-Type": "application/xml", **own}, body)


def new_request_id() -> str:
    return secrets.token_hex(8).upper()


def joined(*groups: Iterable[tuple[str, XmlValue]]) -> Nodes:
    return [node for group in groups for node in group]
