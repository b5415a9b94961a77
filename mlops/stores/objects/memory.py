"""An object store in memory: the reference for the port's contract, and a fake for tests."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from mlops.errors import NoSuchBucket, NoSuchKey, StoreError
from mlops.ports import ObjectInfo
from mlops.stores.objects.keys import check_bucket, check_key, is_ordinary
from mlops.stores.objects.model import DEFAULT_CONTENT_TYPE


@dataclass(frozen=True, slots=True)
class _Held:
    info: ObjectInfo
    content: bytes


class MemoryObjectStore:
    """Implements `mlops.ports.ObjectStore`.

    Paths are asked for seldom: `file_of` and `folder_of` write a copy into a temporary folder,
    which goes when the store goes.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, dict[str, _Held]] = {}
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._copies = 0

    def create_bucket(self, bucket: str) -> None:
        self._buckets.setdefault(check_bucket(bucket), {})

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        objects = self._objects(bucket)
        content = body if isinstance(body, bytes) else body.read()
        info = ObjectInfo(
            key=check_key(key),
            size=len(content),
            etag=hashlib.md5(content, usedforsecurity=False).hexdigest(),
            last_modified=datetime.now(UTC),
            content_type=content_type or DEFAULT_CONTENT_TYPE,
            metadata=dict(metadata or {}),
        )
        with self._lock:
            objects[key] = _Held(info, content)
        return info

    def adopt(self, bucket: str, key: str, file: Path) -> ObjectInfo:
        check_key(key)
        self._objects(bucket)
        if file.is_symlink() or not file.is_file():
            raise StoreError("Only a regular file becomes an object", where=str(file))
        info = self.put(bucket, key, file.read_bytes())
        file.unlink()
        return info

    def head(self, bucket: str, key: str) -> ObjectInfo:
        return self._held(bucket, key).info

    def open(self, bucket: str, key: str) -> BinaryIO:
        return io.BytesIO(self._held(bucket, key).content)

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        with self._lock:
            found = [held.info for held in self._objects(bucket).values()]
        chosen = [info for info in found if info.key.startswith(prefix)]
        return iter(sorted(chosen, key=lambda info: info.key.encode()))

    def folder_of(self, bucket: str, prefix: str) -> Path | None:
        if prefix and not prefix.endswith("/") and prefix in self._objects(bucket):
            return None
        below = f"{prefix.removesuffix('/')}/" if prefix else ""
        if any(not info.key.startswith(below) for info in self.list(bucket, prefix)):
            return None  # siblings that share the prefix as text
        held = {info.key[len(below) :]: info.key for info in self.list(bucket, below)}
        names = {segment for key in held.values() for segment in key.split("/")}
        if not held or not all(is_ordinary(name) for name in names):
            return None
        if any(f"{name}/" == other[: len(name) + 1] for name in held for other in held):
            return None  # a file and a folder of one name
        folder = self._new_folder()
        for name, key in held.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self._held(bucket, key).content)
        return folder

    def file_of(self, bucket: str, key: str) -> Path:
        held = self._held(bucket, key)
        file = self._new_folder() / "object"
        file.write_bytes(held.content)
        return file

    def delete(self, bucket: str, key: str) -> None:
        with self._lock:
            self._objects(bucket).pop(check_key(key), None)

    def _objects(self, bucket: str) -> dict[str, _Held]:
        objects = self._buckets.get(check_bucket(bucket))
        if objects is None:
            raise NoSuchBucket(f"The bucket {bucket} does not exist")
        return objects

    def _held(self, bucket: str, key: str) -> _Held:
        held = self._objects(bucket).get(check_key(key))
        if held is None:
            raise NoSuchKey(f"There is no object s3://{bucket}/{key}")
        return held

    def _new_folder(self) -> Path:
        with self._lock:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="mlops-objects-")
            self._copies += 1
            folder = Path(self._folder.name) / str(self._copies)
        folder.mkdir()
        return folder
