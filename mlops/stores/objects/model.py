"""The values of the object store beyond the port: what S3 keeps with an object."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from io import FileIO

from mlops.errors import ServiceError
from mlops.ports import ObjectInfo

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
NULL_VERSION = "null"
"""The version id of an object written while its bucket's versioning was not enabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What a client says of an object and gets back with it."""

    content_type: str = DEFAULT_CONTENT_TYPE
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The user's ``x-amz-meta-*``, names in lower case without the prefix."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Answer headers kept as they came, names in lower case (``cache-control``, …)."""
    tags: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    """Algorithm (``SHA256``, …) to base64; a composite one ends in ``-`` and the part count."""
    checksum_type: str | None = None
    """``FULL_OBJECT`` or ``COMPOSITE``."""
    part_sizes: tuple[int, ...] = ()
    """Bytes of each part of a multipart upload."""

    def to_json(self) -> str:
        """Only what differs from the defaults: most objects need two bytes."""
        values = {name: value for name in _NAMES if (value := getattr(self, name))}
        if values.get("content_type") == DEFAULT_CONTENT_TYPE:
            del values["content_type"]
        return json.dumps(values, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Attributes:
        if text == "{}":
            return _DEFAULT_ATTRIBUTES
        values = json.loads(text)
        values["part_sizes"] = tuple(values.get("part_sizes", ()))
        return cls(**values)


_DEFAULT_ATTRIBUTES = Attributes()
_NAMES = tuple(one.name for one in fields(Attributes))


@dataclass(frozen=True, slots=True)
class Identity:
    """What ties an index row to the file that it describes: see `mlops.stores.objects.index`."""

    mtime_ns: int
    size: int

    @property
    def last_modified(self) -> datetime:
        return datetime.fromtimestamp(self.mtime_ns // 1000 / 1e6, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One version of an object, or a delete marker."""

    bucket: str
    key: str
    identity: Identity
    etag: str
    attributes: Attributes
    version_id: str = NULL_VERSION
    is_marker: bool = False
    is_latest: bool = True

    @property
    def size(self) -> int:
        return self.identity.size

    @property
    def last_modified(self) -> datetime:
        return self.identity.last_modified

    @property
    def info(self) -> ObjectInfo:
        return ObjectInfo(
            key=self.key,
            size=self.size,
            etag=self.etag,
            last_modified=self.last_modified,
            content_type=self.attributes.content_type,
            metadata=self.attributes.metadata,
        )


@dataclass(frozen=True, slots=True)
class OpenedObject:
    """An object's head and its bytes, of one and the same version."""

    object: StoredObject
    file: FileIO
    """Unbuffered, at its start: its descriptor may be used as well."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """What a delete did, in a bucket with versioning: made a marker, or removed a version."""

    version_id: str | None = None
    is_marker: bool = False


@dataclass(frozen=True, slots=True)
class WriteConditions:
    """S3's conditional writes: PutObject's If-Match and If-None-Match."""

    if_match: str | None = None
    """The ETag that the present object must have."""
    if_none_match: bool = False
    """There must be no object (``If-None-Match: *``)."""

    def __bool__(self) -> bool:
        return self.if_none_match or self.if_match is not None

    def check(self, present: StoredObject | None) -> None:
        """Raise the answer that S3 gives where a condition does not hold."""
        if self.if_none_match and present is not None:
            raise precondition_failed("If-None-Match")
        if self.if_match is None:
            return
        if present is None:
            raise ServiceError("NoSuchKey", "The specified key does not exist.", status=404)
        if self.if_match not in ("*", present.etag):
            raise precondition_failed("If-Match")


NO_CONDITIONS = WriteConditions()


def precondition_failed(header: str) -> ServiceError:
    return ServiceError(
        "PreconditionFailed",
        f"At least one of the pre-conditions you specified did not hold: {header}",
        status=412,
    )
