"""Multipart uploads."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from xml.etree import ElementTree as ET

from mlops.errors import ServiceError
from mlops.gateway.s3.answers import (
    Nodes,
    Response,
    invalid_argument,
    joined,
    owner,
    quoted,
    xml_response,
)
from mlops.gateway.s3.attributes import (
    attributes_of,
    checksum_headers,
    encryption_headers,
    no_content,
    version_headers,
)
from mlops.gateway.s3.checksums import (
    ALGORITHMS,
    checked_algorithm,
    composite,
    given_checksums,
    multipart_type,
    new_digest,
)
from mlops.gateway.s3.conditions import resolve_range, write_conditions
from mlops.gateway.s3.listing import ListQuery
from mlops.gateway.s3.objects import (
    checksum_nodes,
    is_versioned,
    open_source,
    receive,
    source_headers,
)
from mlops.gateway.s3.request import S3Request, malformed_xml, required_text, text_of
from mlops.stores.objects.model import Attributes, OpenedObject
from mlops.stores.objects.store import FileObjectStore
from mlops.stores.objects.uploads import Part, Upload

_MAX_PARTS = 10_000  # documentation "Amazon S3 multipart upload limits"
_MIN_PART_BYTES = 5 << 20


def create_multipart_upload(store: FileObjectStore, request: S3Request) -> Response:
    bucket, key = request.target()
    store.require_bucket(bucket)
    algorithm = checked_algorithm(request.header("x-amz-checksum-algorithm"))
    kind = multipart_type(algorithm, request.header("x-amz-checksum-type"))
    upload = store.uploads.create(
        bucket, key, attributes_of(request), checksum_algorithm=algorithm, checksum_type=kind
    )
    headers = encryption_headers(upload.attributes)
    if algorithm and kind:
        headers |= {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    nodes: Nodes = [("Bucket", bucket), ("Key", key), ("UploadId", upload.id)]
    return xml_response("InitiateMultipartUploadResult", nodes, headers=headers)


def upload_part(store: FileObjectStore, request: S3Request) -> Response:
    upload, number = _upload_of(store, request), _part_number(request)
    staged, checksums = receive(store, request)
    with staged:
        part = store.uploads.put_part(upload, number, staged, checksums)
    own = checksum_headers(Attributes(checksums=checksums))
    return Response(
        200, {"ETag": quoted(part.etag), **own, **encryption_headers(upload.attributes)}
    )


def upload_part_copy(store: FileObjectStore, request: S3Request) -> Response:
    upload, number = _upload_of(store, request), _part_number(request)
    opened = open_source(store, request)
    with opened.file:
        start, length = _source_range(request, opened)
        digest = new_digest(upload.checksum_algorithm)
        with store.stage(*([digest] if digest else [])) as staged:
            opened.file.seek(start)
            staged.copy_from(opened.file, length)
            checksums = {}
            if digest and upload.checksum_algorithm:
                value = base64.b64encode(digest.digest()).decode()
                checksums = {upload.checksum_algorithm: value}
            part = store.uploads.put_part(upload, number, staged, checksums)
    nodes: Nodes = [("ETag", quoted(part.etag)), ("LastModified", part.last_modified)]
    return xml_response(
        "CopyPartResult",
        joined(nodes, _part_checksums(part)),
        headers=source_headers(store, opened.object),
    )


def _source_range(request: S3Request, opened: OpenedObject) -> tuple[int, int]:
    """Offset and length. Unlike a GET's range, this one must be whole and within the source."""
    size = opened.object.size
    text = request.header("x-amz-copy-source-range")
    if text is None:
        return 0, size
    first, dash, last = text.removeprefix("bytes=").partition("-")
    is_whole = text.startswith("bytes=") and dash and first.isdecimal() and last.isdecimal()
    span = resolve_range(first[:18], last[:18], size) if is_whole else None
    if span is None or int(last[:18]) >= size:
        raise invalid_argument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first"
            " and last are the zero-based offsets of the first and last bytes to copy"
        )
    return span[0], span[1] - span[0] + 1


def _upload_of(store: FileObjectStore, request: S3Request) -> Upload:
    bucket, key = request.target()
    store.require_bucket(bucket)
    return store.uploads.get(bucket, key, request.query["uploadId"])


def _part_number(request: S3Request) -> int:
    number = request.number("partNumber", 0, lowest=1, highest=_MAX_PARTS)
    if not number:
        raise invalid_argument("partNumber is missing")
    return number


def abort_multipart_upload(store: FileObjectStore, request: S3Request) -> Response:
    store.uploads.discard(_upload_of(store, request))
    return no_content()


# --- Completion ---


@dataclass(frozen=True, slots=True)
class _Listed:
    """A part as the client lists it when it completes the upload."""

    number: int
    etag: str
    checksums: dict[str, str]


def complete_multipart_upload(store: FileObjectStore, request: S3Request) -> Response:
    upload = _upload_of(store, request)
    conditions = write_conditions(request.headers)
    parts = _chosen(_listed(request.xml("CompleteMultipartUpload")), store.uploads.parts(upload))
    size = request.header("x-amz-mp-object-size")
    if size is not None and size != str(sum(part.size for part in parts)):
        raise ServiceError(
            "InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match."
        )
    is_full = upload.checksum_type == "FULL_OBJECT"
    digest = new_digest(upload.checksum_algorithm) if is_full else None
    with store.uploads.assemble(upload, parts, *([digest] if digest else [])) as staged:
        computed = base64.b64encode(digest.digest()).decode() if digest else None
        checksums = _checksums(request, upload, parts, computed)
        attributes = replace(
            upload.attributes,
            part_sizes=tuple(part.size for part in parts),
            checksums=checksums,
            checksum_type=upload.checksum_type if checksums else None,
        )
        stored = store.publish(
            upload.bucket,
            upload.key,
            staged,
            attributes,
            etag=_multipart_etag(parts),
            conditions=conditions,
        )
    store.uploads.discard(upload)
    nodes: Nodes = [
        ("Location", f"/{upload.bucket}/{upload.key}"),
        ("Bucket", upload.bucket),
        ("Key", upload.key),
        ("ETag", quoted(stored.etag)),
    ]
    headers = {
        **encryption_headers(attributes),
        **version_headers(stored, is_versioned(store, upload.bucket)),
    }
    return xml_response(
        "CompleteMultipartUploadResult", joined(nodes, checksum_nodes(attributes)), headers=headers
    )


def _listed(document: ET.Element) -> list[_Listed]:
    rows = [_listed_part(element) for element in document.findall("Part")]
    if not rows or len(rows) > _MAX_PARTS:
        raise malformed_xml()
    numbers = [row.number for row in rows]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise ServiceError(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
        )
    return rows


def _listed_part(element: ET.Element) -> _Listed:
    number = required_text(element, "PartNumber").strip()
    if not number.isascii() or not number.isdecimal() or not 1 <= int(number[:6]) <= _MAX_PARTS:
        raise invalid_argument(f"Part number must be an integer between 1 and {_MAX_PARTS}")
    checksums = {
        name: value for name in ALGORITHMS if (value := text_of(element, f"Checksum{name}"))
    }
    return _Listed(int(number), required_text(element, "ETag").strip().strip('"'), checksums)


def _chosen(listed: Sequence[_Listed], present: Sequence[Part]) -> list[Part]:
    """The parts that make the object, each as the client knows it."""
    by_number = {part.number: part for part in present}
    chosen = []
    for row in listed:
        part = by_number.get(row.number)
        is_same = part is not None and all(
            part.checksums.get(name, value) == value for name, value in row.checksums.items()
        )
        if part is None or part.etag != row.etag or not is_same:
            raise ServiceError(
                "InvalidPart",
                f"Part {row.number} could not be found. The part may not have been uploaded, or"
                " the specified entity tag may not match the part's entity tag.",
            )
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < _MIN_PART_BYTES:
            raise ServiceError(
                "EntityTooSmall",
                f"Part {part.number} has {part.size:,} bytes; all but the last must have at least"
                f" {_MIN_PART_BYTES:,}",
            )
    return chosen


def _multipart_etag(parts: Sequence[Part]) -> str:
    md5 = hashlib.md5(usedforsecurity=False)
    for part in parts:
        md5.update(bytes.fromhex(part.etag))
    return f"{md5.hexdigest()}-{len(parts)}"


def _checksums(
    request: S3Request, upload: Upload, parts: Sequence[Part], computed: str | None
) -> dict[str, str]:
    """The object's checksum: of the whole, of its parts' checksums, or as the client says."""
    algorithm, kind = upload.checksum_algorithm, upload.checksum_type
    if algorithm is None or kind is None:
        return {}
    given = given_checksums(request.headers).get(algorithm)
    value = computed
    if kind == "COMPOSITE" and all(algorithm in part.checksums for part in parts):
        value = composite(algorithm, [part.checksums[algorithm] for part in parts])
    if (
        given is not None
        and value is not None
        and given.partition("-")[0] != value.partition("-")[0]
    ):
        raise ServiceError(
            "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
        )
    value = value or given
    return {algorithm: value} if value else {}


# --- Lists ---


def list_parts(store: FileObjectStore, request: S3Request) -> Response:
    upload = _upload_of(store, request)
    limit = min(request.number("max-parts", 1000), 1000)
    marker = request.number("part-number-marker", 0)
    rest = [part for part in store.uploads.parts(upload) if part.number > marker]
    page = rest[:limit]
    head: Nodes = [
        ("Bucket", upload.bucket),
        ("Key", upload.key),
        ("UploadId", upload.id),
        ("PartNumberMarker", marker),
        ("NextPartNumberMarker", page[-1].number if page else 0),
        ("MaxParts", limit),
        ("IsTruncated", len(rest) > limit),
        owner("Initiator"),
        owner(),
        ("StorageClass", upload.attributes.headers.get("x-amz-storage-class", "STANDARD")),
        ("ChecksumAlgorithm", upload.checksum_algorithm),
        ("ChecksumType", upload.checksum_type),
    ]
    return xml_response("ListPartsResult", [*head, *(_part_row(part) for part in page)])


def _part_row(part: Part) -> tuple[str, Nodes]:
    nodes: Nodes = [
        ("PartNumber", part.number),
        ("LastModified", part.last_modified),
        ("ETag", quoted(part.etag)),
        ("Size", part.size),
    ]
    return "Part", joined(nodes, _part_checksums(part))


def _part_checksums(part: Part) -> Nodes:
    return [(f"Checksum{name}", value) for name, value in part.checksums.items()]


def list_multipart_uploads(store: FileObjectStore, request: S3Request) -> Response:
    bucket = request.in_bucket()
    store.require_bucket(bucket)
    query = ListQuery.of(request)
    limit = min(request.number("max-uploads", 1000), 1000)
    marker = (request.query.get("key-marker", ""), request.query.get("upload-id-marker", ""))
    groups = _upload_groups(store.uploads.in_bucket(bucket), query, marker)
    page = groups[:limit]
    is_truncated = len(groups) > limit
    head: Nodes = [
        ("Bucket", bucket),
        ("KeyMarker", query.encoded(marker[0])),
        ("UploadIdMarker", marker[1]),
        ("Prefix", query.encoded(query.prefix)),
        ("Delimiter", query.encoded(query.delimiter) if query.delimiter else None),
        ("EncodingType", query.encoding),
        ("MaxUploads", limit),
        ("IsTruncated", is_truncated),
    ]
    if is_truncated and page:
        last = page[-1]
        head.append(("NextKeyMarker", query.encoded(last if isinstance(last, str) else last.key)))
        head.append(("NextUploadIdMarker", "" if isinstance(last, str) else last.id))
    rows: Nodes = [_upload_row(query, one) for one in page if isinstance(one, Upload)]
    return xml_response(
        "ListMultipartUploadsResult", joined(head, rows, query.common_prefixes(page))
    )


def _upload_groups(
    uploads: Sequence[Upload], query: ListQuery, marker: tuple[str, str]
) -> list[Upload | str]:
    """Uploads and common prefixes after the marker; the uploads of one key in order of ids."""
    after_key, after_id = marker[0].encode(), marker[1]
    found: dict[object, Upload | str] = {}
    for upload in sorted(uploads, key=lambda one: (one.key.encode(), one.id)):
        key = upload.key.encode()
        if not upload.key.startswith(query.prefix) or key < after_key:
            continue
        if key == after_key and (not after_id or upload.id <= after_id):
            continue
        prefix = query.common_prefix(upload.key)
        if prefix is None:
            found[upload.id] = upload
        elif prefix.encode() > after_key:
            found[prefix] = prefix
    return list(found.values())


def _upload_row(query: ListQuery, upload: Upload) -> tuple[str, Nodes]:
    return "Upload", [
        ("Key", query.encoded(upload.key)),
        ("UploadId", upload.id),
        owner("Initiator"),
        owner(),
        ("StorageClass", upload.attributes.headers.get("x-amz-storage-class", "STANDARD")),
        ("Initiated", upload.initiated),
        ("ChecksumAlgorithm", upload.checksum_algorithm),
        ("ChecksumType", upload.checksum_type),
    ]
