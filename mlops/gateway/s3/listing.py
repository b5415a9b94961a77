"""ListObjects, ListObjectsV2, ListObjectVersions: pages of what a bucket holds."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote

from mlops.gateway.s3.answers import (
    Nodes,
    Response,
    invalid_argument,
    joined,
    owner,
    quoted,
    xml_response,
)
from mlops.gateway.s3.objects import storage_class
from mlops.gateway.s3.request import S3Request
from mlops.stores.objects.model import StoredObject
from mlops.stores.objects.store import FileObjectStore

_PAGE = 1000  # API reference, max-keys
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What all three have in common."""

    prefix: str
    delimiter: str
    max_keys: int
    encoded: Callable[[str], str]
    encoding: str | None

    @classmethod
    def of(cls, request: S3Request) -> ListQuery:
        encoding = request.query.get("encoding-type") or None
        if encoding not in (None, "url"):
            raise invalid_argument("Invalid Encoding Method specified in Request")
        return cls(
            prefix=request.query.get("prefix", ""),
            delimiter=request.query.get("delimiter", ""),
            max_keys=min(request.number("max-keys", _PAGE, highest=_LARGEST), _PAGE),
            encoded=_url_encoded if encoding else str,
            encoding=encoding,
        )

    def nodes(self) -> Nodes:
        return [
            ("Prefix", self.encoded(self.prefix)),
            ("Delimiter", self.encoded(self.delimiter) if self.delimiter else None),
            ("MaxKeys", self.max_keys),
            ("EncodingType", self.encoding),
        ]

    def common_prefixes(self, entries: Iterable[object]) -> Nodes:
        return [
            ("CommonPrefixes", [("Prefix", self.encoded(entry))])
            for entry in entries
            if isinstance(entry, str)
        ]

    def common_prefix(self, key: str) -> str | None:
        """What a key has up to the first delimiter after the prefix, if there is one."""
        if not self.delimiter:
            return None
        end = key.find(self.delimiter, len(self.prefix))
        return None if end < 0 else key[: end + len(self.delimiter)]


def _url_encoded(text: str) -> str:
    return quote(text, safe="/-_.~*")


def list_objects_v2(store: FileObjectStore, request: S3Request) -> Response:
    query = ListQuery.of(request)
    token, start = request.query.get("continuation-token"), request.query.get("start-after", "")
    after = _from_token(token) if token is not None else start
    page, is_truncated = _page(store, request.in_bucket(), query, after)
    with_owner = request.query.get("fetch-owner") == "true"
    head: Nodes = [
        ("Name", request.bucket),
        ("StartAfter", query.encoded(start) if start else None),
        ("ContinuationToken", token),
        ("KeyCount", len(page)),
        ("IsTruncated", is_truncated),
        ("NextContinuationToken", _to_token(_name_of(page[-1])) if is_truncated else None),
    ]
    contents = _contents(query, page, with_owner=with_owner)
    return xml_response(
        "ListBucketResult", joined(head, query.nodes(), contents, query.common_prefixes(page))
    )


def list_objects(store: FileObjectStore, request: S3Request) -> Response:
    query = ListQuery.of(request)
    marker = request.query.get("marker", "")
    page, is_truncated = _page(store, request.in_bucket(), query, marker)
    has_next = is_truncated and query.delimiter  # without one, the last key serves
    head: Nodes = [
        ("Name", request.bucket),
        ("Marker", query.encoded(marker)),
        ("IsTruncated", is_truncated),
        ("NextMarker", query.encoded(_name_of(page[-1])) if has_next else None),
    ]
    contents = _contents(query, page, with_owner=True)
    return xml_response(
        "ListBucketResult", joined(head, query.nodes(), contents, query.common_prefixes(page))
    )


def _page(
    store: FileObjectStore, bucket: str, query: ListQuery, after: str
) -> tuple[list[StoredObject | str], bool]:
    """Objects and common prefixes of one page, and whether there are more."""
    entries = store.list_objects(bucket, query.prefix, after, collapse=query.delimiter == "/")
    if query.delimiter not in ("", "/"):
        entries = _grouped(entries, query, after)
    found = list(islice(entries, query.max_keys + 1)) if query.max_keys else []
    return found[: query.max_keys], len(found) > query.max_keys


def _grouped(
    entries: Iterator[StoredObject | str], query: ListQuery, after: str
) -> Iterator[StoredObject | str]:
    """Common prefixes by a delimiter that is not the folders' own."""
    last = None
    for entry in entries:
        prefix = query.common_prefix(_name_of(entry))
        if prefix is None:
            yield entry
        elif prefix != last:
            last = prefix
            if prefix.encode() > after.encode():
                yield prefix


def _name_of(entry: StoredObject | str) -> str:
    return entry if isinstance(entry, str) else entry.key


def _contents(query: ListQuery, page: list[StoredObject | str], *, with_owner: bool) -> Nodes:
    return [
        ("Contents", _content(query, entry, with_owner=with_owner))
        for entry in page
        if isinstance(entry, StoredObject)
    ]


def _content(query: ListQuery, stored: StoredObject, *, with_owner: bool) -> Nodes:
    nodes: Nodes = [
        ("Key", query.encoded(stored.key)),
        ("LastModified", stored.last_modified),
        ("ETag", quoted(stored.etag)),
        *(("ChecksumAlgorithm", name) for name in stored.attributes.checksums),
        ("ChecksumType", stored.attributes.checksum_type),
        ("Size", stored.size),
    ]
    if with_owner:
        nodes.append(owner())
    return [*nodes, ("StorageClass", storage_class(stored))]


def _to_token(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _from_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise invalid_argument("The continuation token provided is incorrect") from error


# --- Versions ---


def list_object_versions(store: FileObjectStore, request: S3Request) -> Response:
    query = ListQuery.of(request)
    key_marker = request.query.get("key-marker", "")
    version_marker = request.query.get("version-id-marker") or None
    if version_marker and not key_marker:
        raise invalid_argument("A version-id marker cannot be specified without a key marker.")
    entries = _versions_after(store, request.in_bucket(), query, key_marker, version_marker)
    found = list(islice(entries, query.max_keys + 1)) if query.max_keys else []
    page, is_truncated = found[: query.max_keys], len(found) > query.max_keys
    head: Nodes = [
        ("Name", request.bucket),
        ("KeyMarker", query.encoded(key_marker)),
        ("VersionIdMarker", version_marker),
        ("IsTruncated", is_truncated),
    ]
    if is_truncated:
        last = page[-1]
        head.append(("NextKeyMarker", query.encoded(_name_of(last))))
        if isinstance(last, StoredObject):
            head.append(("NextVersionIdMarker", last.version_id))
    rows = [_version(query, entry) for entry in page if isinstance(entry, StoredObject)]
    return xml_response(
        "ListVersionsResult", joined(head, query.nodes(), rows, query.common_prefixes(page))
    )


def _versions_after(
    store: FileObjectStore, bucket: str, query: ListQuery, key: str, version_id: str | None
) -> Iterator[StoredObject | str]:
    """Versions after a version of a key, or after a key or common prefix altogether."""
    if version_id is None:
        yield from _grouped(store.list_versions(bucket, query.prefix, key), query, key)
        return
    rest = iter(store.versions(bucket, key))
    for version in rest:
        if version.version_id == version_id:
            break
    yield from _grouped(rest, query, "")
    yield from _grouped(store.list_versions(bucket, query.prefix, key), query, key)


def _version(query: ListQuery, stored: StoredObject) -> tuple[str, Nodes]:
    head: Nodes = [
        ("Key", query.encoded(stored.key)),
        ("VersionId", stored.version_id),
        ("IsLatest", stored.is_latest),
        ("LastModified", stored.last_modified),
    ]
    if stored.is_marker:
        return "DeleteMarker", [*head, owner()]
    body: Nodes = [
        ("ETag", quoted(stored.etag)),
        ("Size", stored.size),
        ("StorageClass", storage_class(stored)),
        owner(),
    ]
    return "Version", head + body
