"""Integrity of what arrives: Content-MD5, x-amz-content-sha256 and x-amz-checksum-*.

Documentation: "Checking object integrity in Amazon S3". CRC32, SHA1, SHA256, SHA512 and MD5 are
computed and compared. CRC32C, CRC64NVME and the XXHASH family are stored and given back as they
came: Python's library has none of them, botocore itself computes them only with the `awscrt`
package, and in pure Python they would take a second for every 10 MB.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from mlops.errors import ServiceError
from mlops.gateway.s3.answers import invalid_argument
from mlops.gateway.s3.bodies import RequestBody

PREFIX = "x-amz-checksum-"
_DIGEST_BYTES = {
    "CRC32": 4,
    "CRC32C": 4,
    "CRC64NVME": 8,
    "SHA1": 20,
    "SHA256": 32,
    "SHA512": 64,
    "MD5": 16,
    "XXHASH64": 8,
    "XXHASH3": 8,
    "XXHASH128": 16,
}
ALGORITHMS = tuple(_DIGEST_BYTES)
_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


class Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def new_digest(algorithm: str | None) -> Digest | None:
    """A running digest, or None for an algorithm that is only stored."""
    if algorithm == "CRC32":
        return _Crc32()
    if algorithm in ("SHA1", "SHA256", "SHA512", "MD5"):
        return hashlib.new(algorithm.lower(), usedforsecurity=False)
    return None


def checked_algorithm(name: str | None) -> str | None:
    if name is None:
        return None
    if name.upper() not in _DIGEST_BYTES:
        raise ServiceError("InvalidRequest", f"Checksum algorithm {name[:40]!r} is not supported.")
    return name.upper()


def given_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Algorithm to base64, of the x-amz-checksum-* among headers or trailers."""
    found = {}
    for name, value in headers.items():
        algorithm = name.removeprefix(PREFIX).upper()
        if name.startswith(PREFIX) and algorithm in _DIGEST_BYTES:
            found[algorithm] = _checked_value(algorithm, value)
    if len(found) > 1:
        raise ServiceError(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple are not allowed."
        )
    return found


def _checked_value(algorithm: str, value: str) -> str:
    if _decoded(value.partition("-")[0], _DIGEST_BYTES[algorithm]) is None:
        raise ServiceError(
            "InvalidRequest", f"Value for {PREFIX}{algorithm.lower()} header is invalid."
        )
    return value


def _decoded(text: str, length: int) -> bytes | None:
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest if len(digest) == length else None


class Verifier:
    """What one request says of its body, compared with the body.

    Make it before the body is read, feed `digests` with every byte, then `check`.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._given = given_checksums(headers)
        self._md5 = self._content_md5(headers.get("content-md5"))
        sha256 = headers.get("x-amz-content-sha256", "")
        self._sha256 = sha256 if _SHA256_HEX.fullmatch(sha256) else None
        self._trailing = [
            checked_algorithm(name.strip()[len(PREFIX) :])
            for name in headers.get("x-amz-trailer", "").lower().split(",")
            if name.strip().startswith(PREFIX)
        ]
        asked = checked_algorithm(headers.get("x-amz-sdk-checksum-algorithm"))
        wanted = [*self._given, *self._trailing, asked, "SHA256" if self._sha256 else None]
        self._asked = asked
        self._digests = {
            algorithm: digest
            for algorithm in wanted
            if algorithm and (digest := new_digest(algorithm)) is not None
        }

    @property
    def digests(self) -> Sequence[Digest]:
        return tuple(self._digests.values())

    @staticmethod
    def _content_md5(value: str | None) -> str | None:
        if value is None:
            return None
        digest = _decoded(value, 16)
        if digest is None:
            raise ServiceError("InvalidDigest", "The Content-MD5 you specified is not valid.")
        return digest.hex()

    def check(self, md5: str, body: RequestBody) -> dict[str, str]:
        """Return the checksums to store, by algorithm.

        Raises:
            ServiceError: BadDigest, or XAmzContentSHA256Mismatch.
        """
        if self._md5 is not None and self._md5 != md5:
            raise ServiceError(
                "BadDigest", "The Content-MD5 you specified did not match what we received."
            )
        if self._sha256 and self._digests["SHA256"].digest().hex() != self._sha256:
            raise ServiceError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        given = self._given | given_checksums(body.trailers)
        for algorithm in self._trailing:
            if algorithm and algorithm not in given:
                raise ServiceError(
                    "MalformedTrailerError", "A checksum that x-amz-trailer announced is missing."
                )
        for algorithm, value in given.items():
            digest = self._digests.get(algorithm)
            if digest is not None and base64.b64encode(digest.digest()).decode() != value:
                raise ServiceError(
                    "BadDigest",
                    f"The {algorithm} you specified did not match the calculated checksum.",
                )
        return given or self._own()

    def _own(self) -> dict[str, str]:
        digest = self._digests.get(self._asked) if self._asked else None
        if self._asked is None or digest is None:
            return {}
        return {self._asked: base64.b64encode(digest.digest()).decode()}


def composite(algorithm: str, parts: Sequence[str]) -> str | None:
    """The checksum of the parts' checksums, with their count; None when it is only stored."""
    digest = new_digest(algorithm)
    if digest is None:
        return None
    for part in parts:
        digest.update(base64.b64decode(part))
    return f"{base64.b64encode(digest.digest()).decode()}-{len(parts)}"


def multipart_type(algorithm: str | None, asked: str | None) -> str | None:
    """COMPOSITE or FULL_OBJECT: S3's default for the algorithm, or what was asked for."""
    if algorithm is None:
        return None
    default = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    kind = (asked or default).upper()
    if kind not in ("COMPOSITE", "FULL_OBJECT"):
        raise invalid_argument(f"{kind[:40]!r} is no checksum type")
    is_crc = algorithm.startswith("CRC")
    if (kind == "FULL_OBJECT" and not is_crc) or (kind == "COMPOSITE" and algorithm == "CRC64NVME"):
        raise ServiceError(
            "InvalidRequest",
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} algorithm.",
        )
    return kind
