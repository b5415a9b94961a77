"""One HTTP request as S3 reads it: bucket, key, query, headers, and the body's XML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes
from xml.etree import ElementTree as ET

from mlops.errors import InvalidKey, ServiceError
from mlops.gateway.s3.answers import invalid_argument
from mlops.gateway.s3.bodies import RequestBody, read_all
from mlops.stores.objects.keys import MAX_KEY_BYTES, check_bucket

RAW_HEADERS = "mlops.headers"
"""The environ key of the headers as they came, if the server gives them (`headers.py`)."""

_MAX_XML_BYTES = 8 << 20
"""Above 10,000 parts with checksums or 1,000 keys of 1,024 bytes, far below a memory problem."""

# `bucket.localhost` and `bucket.s3.localhost`, which resolve to loopback without a name server.
_VIRTUAL_HOST = re.compile(r"(?P<bucket>.+?)(?:\.s3)?\.localhost(?::\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class S3Request:
    method: str
    path: str
    """The resource as it was asked for, percent-encoded, for error answers."""
    bucket: str | None
    key: str | None
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: RequestBody

    @property
    def version_id(self) -> str | None:
        return self.query.get("versionId") or None

    def header(self, name: str) -> str | None:
        return self.headers.get(name) or None

    def in_bucket(self) -> str:
        assert self.bucket is not None  # the route is one of a bucket
        return self.bucket

    def target(self) -> tuple[str, str]:
        assert self.key is not None  # the route is one of an object
        return self.in_bucket(), self.key

    def number(self, name: str, default: int, *, lowest: int = 0, highest: int = 2**31 - 1) -> int:
        """A whole number of the query."""
        text = self.query.get(name)
        if text is None or text == "":
            return default
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not lowest <= int(text) <= highest:
            raise invalid_argument(
                f"Argument {name} must be an integer between {lowest} and {highest}"
            )
        return int(text)

    def xml(self, root: str) -> ET.Element:
        """The body, whose root element must be `root`; namespaces are taken off."""
        element = self.optional_xml(root)
        if element is None:
            raise _malformed()
        return element

    def optional_xml(self, root: str) -> ET.Element | None:
        data = read_all(self.body, _MAX_XML_BYTES)
        if not data.strip():
            return None
        element = _parsed(data)
        if element.tag != root:
            raise _malformed()
        return element


def parse_request(environ: Mapping[str, Any]) -> S3Request:
    """Read a WSGI environ.

    The path comes from REQUEST_URI where the server gives it: WSGI's PATH_INFO cannot say whether
    a ``%2F`` was encoded once or twice.

    Raises:
        ServiceError: InvalidBucketName, InvalidURI or KeyTooLongError.
    """
    raw_path, query_text = _raw_target(environ)
    headers = _headers(environ)
    bucket, key = _split(raw_path, headers.get("host", ""))
    return S3Request(
        method=str(environ["REQUEST_METHOD"]).upper(),
        path=raw_path.decode("ascii", "replace"),
        bucket=_checked_bucket(bucket),
        key=_checked_key(key),
        query=_query(query_text),
        headers=headers,
        body=RequestBody(environ, headers),
    )


def _raw_target(environ: Mapping[str, Any]) -> tuple[bytes, str]:
    uri = environ.get("REQUEST_URI")
    if uri is None:
        path = str(environ.get("PATH_INFO", "")).encode("latin-1")
        encoded = b"".join(b"%%%02X" % byte if byte in b"%?" else bytes([byte]) for byte in path)
        return encoded or b"/", str(environ.get("QUERY_STRING", ""))
    path_text, _, query = str(uri).partition("?")
    absolute = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://[^/]*", path_text)
    if absolute:
        path_text = path_text[absolute.end() :]
    return path_text.encode("latin-1") or b"/", query


def _split(raw_path: bytes, host: str) -> tuple[bytes, bytes]:
    path = raw_path.removeprefix(b"/")
    virtual = _VIRTUAL_HOST.fullmatch(host)
    if virtual and virtual["bucket"].lower() != "s3":
        return virtual["bucket"].lower().encode("latin-1"), unquote_to_bytes(path)
    bucket, _, key = path.partition(b"/")
    return unquote_to_bytes(bucket), unquote_to_bytes(key)


def _checked_bucket(raw: bytes) -> str | None:
    if not raw:
        return None
    try:
        return check_bucket(raw.decode("ascii", "replace"))
    except InvalidKey as error:
        raise ServiceError(
            "InvalidBucketName", f"The specified bucket is not valid. {error}"
        ) from error


def _checked_key(raw: bytes) -> str | None:
    if not raw:
        return None
    if len(raw) > MAX_KEY_BYTES:
        raise ServiceError("KeyTooLongError", "Your key is too long")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ServiceError(
            "InvalidURI", "Couldn't parse the specified URI: the key is not UTF-8."
        ) from error


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=200
        )
    except ValueError as error:  # no UTF-8, or far too many
        raise ServiceError("InvalidURI", "Couldn't parse the specified URI: its query.") from error
    return dict(pairs)


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    raw = environ.get(RAW_HEADERS)
    if raw is not None:
        return {name.lower(): value.strip() for name, value in raw}
    headers = {
        name[5:].replace("_", "-").lower(): str(value).strip()
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = str(environ[name])
    return headers


# --- XML ---


class _StrictBuilder(ET.TreeBuilder):
    """Refuses a document type before its entities can grow (the billion laughs)."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ET.ParseError("a document type is not allowed")


def _parsed(data: bytes) -> ET.Element:
    parser = ET.XMLParser(target=_StrictBuilder())
    try:
        parser.feed(data)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        raise _malformed() from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def _malformed() -> ServiceError:
    return ServiceError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )


def text_of(element: ET.Element, name: str) -> str | None:
    """The text of a child element, None when there is none."""
    child = element.find(name)
    return None if child is None else (child.text or "")


def required_text(element: ET.Element, name: str) -> str:
    text = text_of(element, name)
    if text is None:
        raise _malformed()
    return text


malformed_xml = _malformed
