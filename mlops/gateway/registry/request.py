"""One HTTP request as a registry reads it: what it names, its query, headers and body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from mlops.gateway.registry.failures import RegistryError
from mlops.gateway.s3.bodies import RequestBody
from mlops.image_uri import DIGEST, TAG, is_repository

LONGEST_PATH = 2048
MOST_LISTED = 1000

_PLACES = tuple(
    (place, re.compile(pattern))
    for place, pattern in (
        ("base", r"/v2/?"),
        ("catalog", r"/v2/_catalog"),
        ("tags", r"/v2/(?P<name>.+)/tags/list"),
        ("uploads", r"/v2/(?P<name>.+)/blobs/uploads/?"),
        ("upload", r"/v2/(?P<name>.+)/blobs/uploads/(?P<reference>[^/]+)"),
        ("manifest", r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)"),
        ("blob", r"/v2/(?P<name>.+)/blobs/(?P<reference>[^/]+)"),
        ("referrers", r"/v2/(?P<name>.+)/referrers/(?P<reference>[^/]+)"),
    )
)


@dataclass(frozen=True, slots=True)
class RegistryRequest:
    method: str
    place: str
    """What of a registry is meant: one of `_PLACES`."""
    name: str
    """The repository's; empty where the place is in none."""
    reference: str
    """A tag, a digest or an upload's id, as the place has it."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: RequestBody

    @property
    def length(self) -> int | None:
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None

    def digest(self, text: str | None = None) -> str:
        """A digest: the reference unless another text is given.

        Raises:
            RegistryError: it is none, or not one by SHA-256.
        """
        value = self.reference if text is None else text
        if not DIGEST.fullmatch(value):
            raise RegistryError(
                "DIGEST_INVALID", f"{value[:100]!r} is no sha256 digest", status=400
            )
        return value

    def tag_or_digest(self) -> dict[str, str]:
        """The reference as an ImageIdentifier.

        Raises:
            RegistryError: it is neither.
        """
        if ":" in self.reference:
            return {"imageDigest": self.digest()}
        if not TAG.fullmatch(self.reference):
            raise RegistryError("TAG_INVALID", f"{self.reference[:100]!r} is no tag", status=400)
        return {"imageTag": self.reference}

    def page(self) -> tuple[int, str]:
        """How many are asked for, and after which.

        Raises:
            RegistryError: ``n`` is no number.
        """
        text = self.query.get("n", str(MOST_LISTED))
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise RegistryError(
                "PAGINATION_NUMBER_INVALID", f"n is {text[:20]!r}, which is no number", status=400
            )
        return min(int(text), MOST_LISTED), self.query.get("last", "")


def parse_request(environ: Mapping[str, Any], body: RequestBody) -> RegistryRequest:
    """Read a WSGI environ; `body` is its `body_of`.

    Raises:
        RegistryError: the path names nothing of a registry, or no possible repository.
    """
    path = str(environ.get("PATH_INFO", ""))
    place, names = _place_of(path)
    name = names.get("name", "")
    if name and not is_repository(name):
        raise RegistryError("NAME_INVALID", f"{name[:300]!r} is no repository's name", status=400)
    query = parse_qsl(str(environ.get("QUERY_STRING", "")), keep_blank_values=True)
    headers = _headers(environ)
    return RegistryRequest(
        method=str(environ["REQUEST_METHOD"]).upper(),
        place=place,
        name=name,
        reference=names.get("reference", ""),
        query=dict(query),
        headers=headers,
        body=body,
    )


def body_of(environ: Mapping[str, Any]) -> RequestBody:
    """The request's body, to be read once; S3's own encodings mean nothing here."""
    headers = _headers(environ)
    framing = ("content-length", "transfer-encoding")
    return RequestBody(environ, {name: headers[name] for name in framing if name in headers})


def _place_of(path: str) -> tuple[str, Mapping[str, str]]:
    if len(path) <= LONGEST_PATH:
        for place, pattern in _PLACES:
            found = pattern.fullmatch(path)
            if found:
                return place, found.groupdict()
    raise RegistryError("UNSUPPORTED", "A registry has nothing at this path", status=404)


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = str(environ[name])
    return headers
