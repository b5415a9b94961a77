"""Multipart uploads: parts as files outside the bucket, put together when the upload completes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns

from mlops.errors import DiskFull, ServiceError
from mlops.stores.objects.failures import translated
from mlops.stores.objects.index import Index, Row
from mlops.stores.objects.model import Attributes
from mlops.stores.objects.staging import Hasher, StagedFile, StagingArea

_UPLOAD_COLUMNS = "id, bucket, key, initiated_ns, attributes, checksum_algorithm, checksum_type"
_PART_COLUMNS = "number, file, size, etag, modified_ns, checksums"


@dataclass(frozen=True, slots=True)
class Upload:
    id: str
    bucket: str
    key: str
    initiated: datetime
    attributes: Attributes
    checksum_algorithm: str | None
    checksum_type: str | None


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    file: str
    size: int
    etag: str
    last_modified: datetime
    checksums: Mapping[str, str]


class Uploads:
    """The unfinished multipart uploads of a store. Made by the store, which shares its parts."""

    def __init__(
        self, folder: Path, index: Index, lock: AbstractContextManager[object], area: StagingArea
    ) -> None:
        self._folder = folder
        self._index = index
        self._lock = lock
        self._area = area

    def create(
        self,
        bucket: str,
        key: str,
        attributes: Attributes,
        *,
        checksum_algorithm: str | None = None,
        checksum_type: str | None = None,
    ) -> Upload:
        upload_id = secrets.token_urlsafe(32)
        with translated(self._folder):
            (self._folder / upload_id).mkdir(parents=True)
        self._index.change(
            f"INSERT INTO uploads ({_UPLOAD_COLUMNS}) VALUES (?,?,?,?,?,?,?)",
            (
                upload_id,
                bucket,
                key.encode(),
                time_ns(),
                attributes.to_json(),
                checksum_algorithm,
                checksum_type,
            ),
        )
        return self.get(bucket, key, upload_id)

    def get(self, bucket: str, key: str, upload_id: str) -> Upload:
        """Raises ServiceError NoSuchUpload where there is none of this id for this object."""
        rows = self._index.rows(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads WHERE id=? AND bucket=? AND key=?",
            (upload_id, bucket, key.encode()),
        )
        if not rows:
            raise _no_such_upload()
        return _upload(rows[0])

    def in_bucket(self, bucket: str) -> list[Upload]:
        """In the order of keys, then of initiation."""
        rows = self._index.rows(
            f"SELECT {_UPLOAD_COLUMNS} FROM uploads WHERE bucket=? ORDER BY key, initiated_ns, id",
            (bucket,),
        )
        return [_upload(row) for row in rows]

    def put_part(
        self, upload: Upload, number: int, staged: StagedFile, checksums: Mapping[str, str]
    ) -> Part:
        """Make a staged file the part `number`; a part of the same number is replaced."""
        staged.seal()
        name = f"{number}-{secrets.token_hex(4)}"
        with translated(self._folder), self._lock:
            self.get(upload.bucket, upload.key, upload.id)
            former = [part.file for part in self.parts(upload) if part.number == number]
            try:
                os.replace(staged.path, self._folder / upload.id / name)  # noqa: PTH105
            except FileNotFoundError as error:
                raise _no_such_upload() from error
            self._index.change(
                f"INSERT OR REPLACE INTO parts (upload_id, {_PART_COLUMNS}) VALUES (?,?,?,?,?,?,?)",
                (
                    upload.id,
                    number,
                    name,
                    staged.size,
                    staged.md5,
                    time_ns(),
                    json.dumps(dict(checksums)),
                ),
            )
            for file in former:
                (self._folder / upload.id / file).unlink(missing_ok=True)
        return next(part for part in self.parts(upload) if part.number == number)

    def parts(self, upload: Upload) -> list[Part]:
        """In the order of their numbers."""
        rows = self._index.rows(
            f"SELECT {_PART_COLUMNS} FROM parts WHERE upload_id=? ORDER BY number", (upload.id,)
        )
        return [_part(row) for row in rows]

    def assemble(self, upload: Upload, parts: Sequence[Part], *hashers: Hasher) -> StagedFile:
        """A staged file with the bytes of `parts`; the parts stay until `discard`.

        The caller enters the file at once. Its MD5 is that of nothing: the ETag of such an object
        comes from those of its parts.
        """
        with translated(self._folder):
            staged = self._area.new_file(hashers)
            try:
                for part in parts:
                    staged.append(self._folder / upload.id / part.file, hashed=bool(hashers))
            except FileNotFoundError as error:  # completed or aborted meanwhile
                staged.remove()
                raise _no_such_upload() from error
            except BaseException:
                staged.remove()
                raise
            return staged

    def discard(self, upload: Upload) -> None:
        """Forget an upload and remove its parts. On a full disk, they are what makes room."""
        folder = self._folder / upload.id
        with self._lock:
            try:
                self._forget(upload)
                shutil.rmtree(folder, ignore_errors=True)
            except DiskFull:
                shutil.rmtree(folder, ignore_errors=True)
                self._forget(upload)

    def _forget(self, upload: Upload) -> None:
        with self._index.transaction():
            self._index.change("DELETE FROM parts WHERE upload_id=?", (upload.id,))
            self._index.change("DELETE FROM uploads WHERE id=?", (upload.id,))


def _no_such_upload() -> ServiceError:
    return ServiceError(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may"
        " have been aborted or completed.",
        status=404,
    )


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1000 / 1e6, UTC)


def _upload(row: Row) -> Upload:
    upload_id, bucket, key, initiated_ns, attributes, algorithm, kind = row
    return Upload(
        id=upload_id,
        bucket=bucket,
        key=key.decode(),
        initiated=_moment(initiated_ns),
        attributes=Attributes.from_json(attributes),
        checksum_algorithm=algorithm,
        checksum_type=kind,
    )


def _part(row: Row) -> Part:
    number, file, size, etag, modified_ns, checksums = row
    return Part(number, file, size, etag, _moment(modified_ns), json.loads(checksums))
