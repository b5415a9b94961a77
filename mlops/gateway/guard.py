"""Whom a gateway answers that listens beyond this machine.

This machine's own programs and its containers come and go as ever: over the loopback address and
from behind the container bridge any key will do. Everybody else has to sign with the gateway's own
key (`signatures`), whatever they ask, but for the image registry, which asks for a password itself.
It is imported only by a gateway that has such a listener.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol

from mlops.errors import ServiceError
from mlops.gateway.protocols import refusal
from mlops.gateway.router import REGISTRY, VERIFIED, service_of
from mlops.gateway.s3.answers import error_response, new_request_id
from mlops.gateway.s3.bodies import CHUNK_SIGNATURES
from mlops.gateway.s3.request import RAW_HEADERS
from mlops.gateway.signatures import (
    EMPTY_HASH,
    STREAMING,
    STREAMING_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    UNSIGNED_PAYLOAD,
    ChunkSignatures,
    Fault,
    KeyPair,
    Refused,
    Signature,
    SignedRequest,
    check_claims,
    declared_payload,
    mismatch,
    read_signature,
    verify,
)
from mlops.gateway.wire import Environ, Response, StartResponse, WsgiApp
from mlops.listening import is_near

MOST_BODY_BYTES = 128 * 1024 * 1024
"""Of a request whose body is read before it is answered; S3's are checked while they pass."""
_MEMORY_BYTES = 1024 * 1024
_READ_BYTES = 1024 * 1024

_S3_CODES: Mapping[Fault, tuple[str, int]] = {
    Fault.MISSING: ("AccessDenied", 403),
    Fault.INCOMPLETE: ("AuthorizationHeaderMalformed", 400),
    Fault.OTHER_MECHANISM: ("InvalidRequest", 400),
    Fault.UNKNOWN_KEY: ("InvalidAccessKeyId", 403),
    Fault.SKEWED: ("RequestTimeTooSkewed", 403),
    Fault.EXPIRED: ("AccessDenied", 403),
    Fault.UNSIGNED_HEADERS: ("AccessDenied", 403),
    Fault.MISMATCH: ("SignatureDoesNotMatch", 403),
}
_QUERY_CODES: Mapping[Fault, tuple[str, int]] = {
    Fault.MISSING: ("MissingAuthenticationToken", 403),
    Fault.INCOMPLETE: ("IncompleteSignature", 400),
    Fault.OTHER_MECHANISM: ("IncompleteSignature", 400),
    Fault.UNKNOWN_KEY: ("InvalidClientTokenId", 403),
    Fault.SKEWED: ("RequestExpired", 400),
    Fault.EXPIRED: ("RequestExpired", 400),
    Fault.UNSIGNED_HEADERS: ("SignatureDoesNotMatch", 403),
    Fault.MISMATCH: ("SignatureDoesNotMatch", 403),
}
_JSON_CODES: Mapping[Fault, tuple[str, int]] = {
    Fault.MISSING: ("MissingAuthenticationTokenException", 403),
    Fault.INCOMPLETE: ("IncompleteSignatureException", 403),
    Fault.OTHER_MECHANISM: ("IncompleteSignatureException", 403),
    Fault.UNKNOWN_KEY: ("UnrecognizedClientException", 403),
    Fault.SKEWED: ("InvalidSignatureException", 403),
    Fault.EXPIRED: ("InvalidSignatureException", 403),
    Fault.UNSIGNED_HEADERS: ("InvalidSignatureException", 403),
    Fault.MISMATCH: ("InvalidSignatureException", 403),
}


class _Input(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


class Guard:
    """A WSGI application before another one.

    Args:
        keys: each of them will do.
        bridge: the address under which containers reach this machine, if it is one of its own.
        now: the time.
    """

    def __init__(
        self,
        app: WsgiApp,
        keys: Sequence[KeyPair],
        bridge: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._app = app
        self._keys = {pair.access_key_id: pair for pair in keys}
        self._bridge = bridge
        self._now = now

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if is_near(environ["REMOTE_ADDR"], self._bridge) or service_of(environ) == REGISTRY:
            return self._app(environ, start_response)
        try:
            self._admit(environ)
        except Refused as refused:
            _drain(environ["wsgi.input"])
            return _send(_answer(environ, refused), start_response)
        except ServiceError as error:
            return _send(refusal.error_answer(environ, "", error), start_response)
        environ[VERIFIED] = True
        return self._app(environ, start_response)

    def _admit(self, environ: Environ) -> None:
        """Verify a request, and see to it that what is read of its body is verified, too."""
        request = _request(environ)
        signature = read_signature(request)
        keys = self._keys.get(signature.access_key_id)
        if keys is None:
            raise Refused(Fault.UNKNOWN_KEY, "The access key id is not one of this gateway's.")
        check_claims(signature, request, self._now())
        payload = declared_payload(signature, request)
        if signature.service == "s3" and payload is not None:
            verify(signature, request, keys, payload)
            _watch_body(environ, signature, keys, payload)
            return
        if payload in (STREAMING, STREAMING_TRAILER, STREAMING_UNSIGNED_TRAILER):
            raise Refused(Fault.INCOMPLETE, f"Only S3 takes a body of the kind {payload}.")
        if payload == UNSIGNED_PAYLOAD:
            verify(signature, request, keys, payload)
            return
        computed = _read_whole(environ)
        if payload is not None and payload != computed:
            raise mismatch()
        verify(signature, request, keys, computed)


def _watch_body(environ: Environ, signature: Signature, keys: KeyPair, payload: str) -> None:
    if payload in (STREAMING, STREAMING_TRAILER):
        environ[CHUNK_SIGNATURES] = ChunkSignatures(signature, keys, _chunk_mismatch)
    elif payload not in (UNSIGNED_PAYLOAD, STREAMING_UNSIGNED_TRAILER):
        environ["wsgi.input"] = _HashedInput(environ, payload)


def _chunk_mismatch() -> ServiceError:
    return ServiceError("SignatureDoesNotMatch", str(mismatch()), status=403)


def _request(environ: Environ) -> SignedRequest:
    path, _, query = str(environ["REQUEST_URI"]).partition("?")
    if path.startswith(("http://", "https://")):  # the absolute form, which proxies send
        path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
    headers = {name.lower(): value for name, value in environ[RAW_HEADERS]}
    return SignedRequest(environ["REQUEST_METHOD"], path, query, headers)


def _read_whole(environ: Environ) -> str:
    """Read the body aside; its SHA-256. Whoever answers reads it from there."""
    source: _Input = environ["wsgi.input"]
    kept: Any = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES)  # noqa: SIM115 - handed on
    digest, size = sha256(), 0
    length = environ.get("CONTENT_LENGTH")
    left = int(length) if length else None
    while left != 0 and (
        part := source.read(_READ_BYTES if left is None else min(left, _READ_BYTES))
    ):
        size += len(part)
        left = None if left is None else left - len(part)
        if size > MOST_BODY_BYTES:
            _drain(source)
            raise ServiceError(
                "RequestEntityTooLargeException",
                f"The request has more than {MOST_BODY_BYTES} bytes",
                status=413,
            )
        digest.update(part)
        kept.write(part)
    kept.seek(0)
    environ["wsgi.input"] = kept
    return digest.hexdigest()


class _HashedInput:
    """A body whose last bytes are handed out only where all of it has the hash that was signed."""

    def __init__(self, environ: Environ, expected: str) -> None:
        self._source: _Input = environ["wsgi.input"]
        self._expected = expected
        self._digest = sha256()
        length = environ.get("CONTENT_LENGTH")
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        self._left = None if chunked else int(length or 0)
        if self._left == 0 and expected != EMPTY_HASH:
            raise mismatch()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._digest.update(data)
        if self._left is not None:
            self._left -= len(data)
        if (self._left == 0 or not data) and self._digest.hexdigest() != self._expected:
            raise ServiceError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        return data


def _drain(source: _Input) -> None:
    """Read what nobody wanted: a client that still sends would not see the answer."""
    with suppress(OSError, ValueError):  # its connection breaks, or its framing
        while source.read(_READ_BYTES):
            pass


def _answer(environ: Environ, refused: Refused) -> Response:
    service = service_of(environ)
    if service == "s3" and not environ["PATH_INFO"].startswith("/_mlops/"):
        code, status = _S3_CODES[refused.fault]
        error = ServiceError(code, str(refused), status=status)
        resource = str(environ["REQUEST_URI"]).partition("?")[0]
        made = error_response(error, resource, new_request_id())
        body = b"" if environ["REQUEST_METHOD"] == "HEAD" else bytes(made.body)  # type: ignore[arg-type]  # of an error
        return Response(made.status, body, "application/xml")
    codes = _QUERY_CODES if _asks_by_form(environ) else _JSON_CODES
    code, status = codes[refused.fault]
    return refusal.error_answer(environ, service, ServiceError(code, str(refused), status=status))


def _asks_by_form(environ: Environ) -> bool:
    content_type = str(environ.get("CONTENT_TYPE", ""))
    return (
        content_type.startswith("application/x-www-form-urlencoded")
        and "HTTP_X_AMZ_TARGET" not in environ
    )


def _send(response: Response, start_response: StartResponse) -> Iterable[bytes]:
    return response.send(start_response)
