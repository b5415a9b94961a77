"""The request's body as a stream: plain, or in the chunks that AWS SDKs sign or trail.

``aws-chunked`` (documentation: "Signature calculations for the authorization header: transferring
payload in multiple chunks"): each chunk is ``<hex size>[;chunk-signature=…]``, CR LF, the bytes,
CR LF; a chunk of size 0 ends them; then trailers, one on a line, and an empty line. Signatures
are checked where somebody has put a ChunkChecks into the environ (``gateway.guard``); else they are
read and nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from mlops.errors import ServiceError

READ_BYTES = 1 << 18
_MAX_LINE_BYTES = 8192
_MAX_TRAILERS = 20

CHUNK_SIGNATURES = "mlops.chunk_signatures"
"""The environ key of a ChunkChecks."""


class ChunkChecks(Protocol):
    """Raises a ServiceError where a chunk is not what was signed (``gateway.signatures``)."""

    def begin(self, extension: str) -> None: ...
    def update(self, data: bytes) -> None: ...
    def end(self) -> None: ...
    def end_trailers(self, trailers: Mapping[str, str]) -> None: ...


class RequestBody:
    """Iterates over the content, decoded, in pieces of at most 256 KiB. Once only.

    A body that is shorter than announced raises IncompleteBody at its end: whoever writes the
    pieces somewhere must not keep them then. `trailers` is filled when the last piece is read.
    """

    def __init__(self, environ: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        self._input = environ["wsgi.input"]
        self._headers = headers
        self._checks: ChunkChecks | None = environ.get(CHUNK_SIGNATURES)
        self._buffer = b""
        self._ended = False
        self.trailers: dict[str, str] = {}
        self.is_chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.is_announced = self.is_chunked or "content-length" in headers
        length = headers.get("content-length")
        self._left = None if self.is_chunked or length is None else _whole_number(length)
        if not self.is_announced:
            self._left = 0

    @property
    def is_aws_chunked(self) -> bool:
        encodings = self._headers.get("content-encoding", "").lower()
        return (
            self._headers.get("x-amz-content-sha256", "").startswith("STREAMING-")
            or "aws-chunked" in encodings
        )

    def __iter__(self) -> Iterator[bytes]:
        return self._aws_chunks() if self.is_aws_chunked else self._plain()

    def _plain(self) -> Iterator[bytes]:
        while data := self._read(READ_BYTES):
            yield data
        if self._left:
            raise _incomplete()

    def _aws_chunks(self) -> Iterator[bytes]:
        total = 0
        while size := self._chunk_size():
            total += size
            for data in self._exactly(size):
                if self._checks is not None:
                    self._checks.update(data)
                yield data
            if self._line():
                raise _incomplete()
            if self._checks is not None:
                self._checks.end()
        self._read_trailers()
        self._check_end()
        announced = self._headers.get("x-amz-decoded-content-length")
        if announced is not None and _whole_number(announced) != total:
            raise _incomplete()

    def _check_end(self) -> None:
        """Check the signatures of the last chunk, which is empty, and of the trailers."""
        if self._checks is None:
            return
        self._checks.end()
        if self.trailers or self._headers["x-amz-content-sha256"].endswith("-TRAILER"):
            self._checks.end_trailers(self.trailers)

    def _chunk_size(self) -> int:
        text, _, extension = self._line().partition(b";")
        text = text.strip()
        try:
            size = int(text, 16)
        except ValueError as error:
            raise _incomplete() from error
        if size < 0 or len(text) > 16:
            raise _incomplete()
        if self._checks is not None:
            self._checks.begin(extension.decode("latin-1"))
        return size

    def _read_trailers(self) -> None:
        for _ in range(_MAX_TRAILERS):
            line = self._line(may_end=True)
            if not line:
                return
            name, _, value = line.decode("latin-1").partition(":")
            self.trailers[name.strip().lower()] = value.strip()
        raise ServiceError("MalformedTrailerError", "The request has too many trailers.")

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            data = self._read(min(size, READ_BYTES))
            if not data:
                raise _incomplete()
            size -= len(data)
            yield data

    def _line(self, *, may_end: bool = False) -> bytes:
        # Not by the input's readline: cheroot's never returns for a chunked transfer.
        while b"\n" not in self._buffer and len(self._buffer) < _MAX_LINE_BYTES:
            data = self._raw(1024)
            if not data:
                if may_end and not self._buffer.strip():
                    return b""
                raise _incomplete()
            self._buffer += data
        line, newline, self._buffer = self._buffer.partition(b"\n")
        if not newline:
            raise _incomplete()
        return line.rstrip(b"\r")

    def _read(self, size: int) -> bytes:
        if self._buffer:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        return self._raw(size)

    def _raw(self, size: int) -> bytes:
        if self._left is not None:
            size = min(size, self._left)
        if not size or self._ended:
            return b""
        try:
            data: bytes = self._input.read(size)
        except (OSError, ValueError) as error:  # time-out, connection gone; broken framing
            self._ended = True
            raise ServiceError(
                "RequestTimeout",
                f"The body of the request could not be read to its end: {error}",
            ) from error
        self._ended = not data
        if self._left is not None:
            self._left -= len(data)
        return data

    def drain(self) -> None:
        """Read what nobody wanted, a piece at a time, so that the connection can be used again.

        (cheroot would read it in one piece, however large.)
        """
        self._buffer = b""
        try:
            while self._raw(READ_BYTES):
                pass
        except ServiceError:
            return  # the connection is of no use any more, and the answer is made already


def read_all(body: RequestBody, limit: int) -> bytes:
    """A small body whole.

    Raises:
        ServiceError: it is larger than `limit`.
    """
    data = b""
    for piece in body:
        data += piece
        if len(data) > limit:
            raise ServiceError(
                "MaxMessageLengthExceeded",
                f"Your request was too big: a document of at most {limit:,} bytes is allowed here.",
            )
    return data


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise ServiceError("InvalidArgument", f"{text[:40]!r} is no length")
    return int(text)


def _incomplete() -> ServiceError:
    return ServiceError(
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    )
