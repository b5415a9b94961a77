"""AWS Signature Version 4, from the side that verifies it. Pure.

    request → read_signature → check_claims → (the payload's hash) → verify

Both forms: the Authorization header and the presigned query; and the signatures of a body's chunks,
which hang on the one of its request like a chain. No error says what would have been right: a
signature that is wrong tells nothing but that.

Sources: the IAM User Guide, "Create a signed AWS API request"; the S3 API Reference,
"Authenticating Requests (AWS Signature Version 4)" with its pages on query parameters and on
chunked uploads with and without trailers; botocore's ``auth.py``, whose signers are the reference
in the tests. Codes of errors: "Common Error Types" (query and JSON services) and "Error Responses"
of S3.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
EMPTY_HASH = sha256(b"").hexdigest()
MOST_SKEW = timedelta(minutes=15)
MOST_EXPIRES = 604_800
"""Seconds: a presigned request is valid for seven days at most."""
TRAILER_SIGNATURE = "x-amz-trailer-signature"

_MOMENT = "%Y%m%dT%H%M%SZ"
_CREDENTIAL = re.compile(
    r"(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]*)/(?P<service>[^/]+)/aws4_request"
)
_HEX = re.compile(r"[0-9a-f]{64}")
_NEVER_SIGNED = ("x-amzn-trace-id",)
"""botocore's ``auth.SIGNED_HEADERS_BLACKLIST``, as far as it concerns these."""
_PAYLOADS = (UNSIGNED_PAYLOAD, STREAMING, STREAMING_TRAILER, STREAMING_UNSIGNED_TRAILER)


class Fault(Enum):
    """What is wrong with a request's signature."""

    MISSING = "missing"
    """It has none."""
    INCOMPLETE = "incomplete"
    """It has one that cannot be read."""
    OTHER_MECHANISM = "other mechanism"
    """It is signed by Signature Version 2, or in another way that is not this one."""
    UNKNOWN_KEY = "unknown key"
    SKEWED = "skewed"
    """Its time is too far from ours."""
    EXPIRED = "expired"
    """It was presigned, and its time is over."""
    UNSIGNED_HEADERS = "unsigned headers"
    """It has headers that change what it means and are not under the signature."""
    MISMATCH = "mismatch"


class Refused(Exception):
    """A request whose signature does not hold."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An access key."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it came, before anything is decoded."""

    method: str
    path: str
    """Percent-encoded, as in the request line; the query is apart."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a request says of its signature."""

    access_key_id: str
    scope: str
    """``<date>/<region>/<service>/aws4_request``"""
    service: str
    moment: datetime
    signed_headers: tuple[str, ...]
    value: str = field(repr=False)
    expires_seconds: int | None
    """Of a presigned request; None of one that is signed by its header."""


# --- reading ------------------------------------------------------------------------------------


def read_signature(request: SignedRequest) -> Signature:
    """What the request claims; nothing of it is checked yet.

    Raises:
        Refused: it has no signature, or one that cannot be read.
    """
    authorization = request.headers.get("authorization", "")
    if authorization:
        return _from_header(authorization, request)
    query = dict(_pairs(request.query))
    if "X-Amz-Signature" in query or "X-Amz-Credential" in query:
        return _from_query(query)
    if "AWSAccessKeyId" in query:  # how botocore presigns for S3 where nobody tells it otherwise
        raise _other_mechanism()
    raise Refused(Fault.MISSING, "The request is not signed.")


def _from_header(authorization: str, request: SignedRequest) -> Signature:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise _other_mechanism()
    parts = {
        name: value for name, _, value in (part.strip().partition("=") for part in rest.split(","))
    }
    return _signature(
        parts.get("Credential", ""),
        request.headers.get("x-amz-date", ""),
        parts.get("SignedHeaders", ""),
        parts.get("Signature", ""),
        None,
    )


def _from_query(query: Mapping[str, str]) -> Signature:
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise _other_mechanism()
    expires = query.get("X-Amz-Expires", "")
    if not re.fullmatch(r"[0-9]{1,6}", expires) or not 1 <= int(expires) <= MOST_EXPIRES:
        raise Refused(
            Fault.INCOMPLETE, f"X-Amz-Expires must be a number between 1 and {MOST_EXPIRES}."
        )
    return _signature(
        query.get("X-Amz-Credential", ""),
        query.get("X-Amz-Date", ""),
        query.get("X-Amz-SignedHeaders", ""),
        query.get("X-Amz-Signature", ""),
        int(expires),
    )


def _other_mechanism() -> Refused:
    return Refused(
        Fault.OTHER_MECHANISM,
        "The authorization mechanism you have provided is not supported. Please use "
        f"{ALGORITHM}: with boto3, Config(signature_version='s3v4').",
    )


def _signature(
    credential: str, moment: str, signed: str, value: str, expires: int | None
) -> Signature:
    match = _CREDENTIAL.fullmatch(credential)
    if match is None:
        raise Refused(
            Fault.INCOMPLETE,
            "The Credential has to be <key>/<date>/<region>/<service>/aws4_request.",
        )
    try:
        when = datetime.strptime(moment, _MOMENT).replace(tzinfo=UTC)
    except ValueError:
        raise Refused(
            Fault.INCOMPLETE, "The request has no X-Amz-Date of the form YYYYMMDDTHHMMSSZ."
        ) from None
    names = tuple(signed.split(";"))
    if moment[:8] != match["date"] or "host" not in names or not _HEX.fullmatch(value):
        raise Refused(
            Fault.INCOMPLETE,
            "The date of the Credential has to be X-Amz-Date's, SignedHeaders have to hold host, "
            "and the Signature has 64 hexadecimal digits.",
        )
    scope = credential.partition("/")[2]
    return Signature(match["key"], scope, match["service"], when, names, value, expires)


# --- checking -----------------------------------------------------------------------------------


def check_claims(signature: Signature, request: SignedRequest, now: datetime) -> None:
    """Check all that needs no secret: the time, and that what matters is signed.

    Raises:
        Refused
    """
    if signature.expires_seconds is None:
        if abs(now - signature.moment) > MOST_SKEW:
            raise Refused(
                Fault.SKEWED,
                "The difference between the request time and the current time is too large.",
            )
    elif signature.moment - now > MOST_SKEW:
        raise Refused(Fault.EXPIRED, "The request is not valid yet.")
    elif now > signature.moment + timedelta(seconds=signature.expires_seconds):
        raise Refused(Fault.EXPIRED, "Request has expired")
    unsigned = sorted(
        name for name in request.headers if _matters(name) and name not in signature.signed_headers
    )
    if unsigned:
        raise Refused(
            Fault.UNSIGNED_HEADERS,
            "There were headers present in the request which were not signed: "
            + ", ".join(unsigned),
        )


def _matters(name: str) -> bool:
    """Whether a header can change what a request means; WSGI takes an underscore for a hyphen."""
    plain = name.replace("_", "-")
    return plain.startswith(("x-amz-", "x-amzn-")) and plain not in _NEVER_SIGNED


def declared_payload(signature: Signature, request: SignedRequest) -> str | None:
    """What the request says of its body: a SHA-256 or one of S3's words; None where the body
    itself has to be hashed.

    Raises:
        Refused: it says what nobody knows.
    """
    stated = request.headers.get("x-amz-content-sha256")
    if stated is None and signature.expires_seconds is not None and signature.service == "s3":
        stated = dict(_pairs(request.query)).get("X-Amz-Content-Sha256", UNSIGNED_PAYLOAD)
    if stated is None or _HEX.fullmatch(stated) or stated in _PAYLOADS:
        return stated
    raise Refused(Fault.INCOMPLETE, "x-amz-content-sha256 is neither a SHA-256 nor a known word.")


def verify(signature: Signature, request: SignedRequest, keys: KeyPair, payload: str) -> None:
    """Check the signature itself; `payload` is `declared_payload`, or the body's SHA-256.

    Raises:
        Refused: it does not match.
    """
    text = string_to_sign(signature, canonical_request(signature, request, payload))
    computed = _hmac(signing_key(keys, signature.scope), text).hex()
    if not hmac.compare_digest(computed, signature.value):
        raise mismatch()


def mismatch() -> Refused:
    """The error of a signature, or of a body, that is not what was signed."""
    return Refused(
        Fault.MISMATCH,
        "The request signature we calculated does not match the signature you provided. Check "
        "your secret access key and signing method.",
    )


# --- the algorithm ------------------------------------------------------------------------------


def canonical_request(signature: Signature, request: SignedRequest, payload: str) -> str:
    """The request in the form that is hashed."""
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n"
        for name in signature.signed_headers
    )
    return "\n".join(
        (
            request.method.upper(),
            _canonical_path(request.path, signature.service),
            _canonical_query(request.query),
            headers,
            ";".join(signature.signed_headers),
            payload,
        )
    )


def string_to_sign(signature: Signature, canonical: str) -> str:
    return "\n".join(
        (
            ALGORITHM,
            signature.moment.strftime(_MOMENT),
            signature.scope,
            sha256(canonical.encode("latin-1", "replace")).hexdigest(),
        )
    )


def signing_key(keys: KeyPair, scope: str) -> bytes:
    """The key of a day, region and service."""
    key = f"AWS4{keys.secret_access_key}".encode()
    for part in scope.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), sha256).digest()


def _canonical_path(path: str, service: str) -> str:
    """S3's path, encoded once; others' without dots and empty parts, encoded once more."""
    if service == "s3":
        return quote(unquote_to_bytes(path or "/"), safe="/-_.~")
    return quote(_without_dots(path or "/"), safe="/-_.~")


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    last = "/" if kept and path.endswith("/") else ""
    return "/" + "/".join(kept) + last


def _canonical_query(query: str) -> str:
    return "&".join(
        f"{name}={value}"
        for name, value in sorted(
            (_encoded(name), _encoded(value))
            for name, value in _raw_pairs(query)
            if name != "X-Amz-Signature"
        )
    )


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text), safe="-_.~")


def _raw_pairs(query: str) -> Sequence[tuple[str, str]]:
    parts = (part.partition("=") for part in query.split("&") if part)
    return [(name, value) for name, _, value in parts]


def _pairs(query: str) -> Sequence[tuple[str, str]]:
    return [
        (unquote_to_bytes(name).decode("latin-1"), unquote_to_bytes(value).decode("latin-1"))
        for name, value in _raw_pairs(query)
    ]


# --- a body in chunks ---------------------------------------------------------------------------


class ChunkSignatures:
    """Checks the chunks of one body, in their order, as their bytes come.

    Each chunk's signature covers the one before it, the first the request's own. `refuse` makes
    the error of one that does not match.
    """

    def __init__(
        self,
        signature: Signature,
        keys: KeyPair,
        refuse: Callable[[], Exception] = mismatch,
    ) -> None:
        self._refuse = refuse
        self._head = (signature.moment.strftime(_MOMENT), signature.scope)
        self._key = signing_key(keys, signature.scope)
        self._previous = signature.value
        self._given = ""
        self._hash = sha256()

    def begin(self, extension: str) -> None:
        """A chunk follows; `extension` is what its head has after the size."""
        name, _, value = extension.strip().partition("=")
        if name != "chunk-signature":
            raise self._refuse()
        self._given = value
        self._hash = sha256()

    def update(self, data: bytes) -> None:
        self._hash.update(data)

    def end(self) -> None:
        """All bytes of the chunk have come; the last chunk has none."""
        self._check("PAYLOAD", (EMPTY_HASH, self._hash.hexdigest()), self._given)

    def end_trailers(self, trailers: Mapping[str, str]) -> None:
        """The trailers have come, their own signature among them."""
        text = "".join(
            f"{name}:{value}\n"
            for name, value in sorted(trailers.items())
            if name != TRAILER_SIGNATURE
        )
        given = trailers.get(TRAILER_SIGNATURE, "")
        self._check("TRAILER", (sha256(text.encode("latin-1")).hexdigest(),), given)

    def _check(self, kind: str, hashes: Sequence[str], given: str) -> None:
        text = "\n".join((f"{ALGORITHM}-{kind}", *self._head, self._previous, *hashes))
        computed = _hmac(self._key, text).hex()
        if not hmac.compare_digest(computed.encode(), given.encode("latin-1", "replace")):
            raise self._refuse()
        self._previous = computed
