"""Former versions of objects, out of the bucket's folder so that it holds the current ones only."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from io import FileIO
from pathlib import Path

from mlops.stores.objects.model import StoredObject

_NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS)


def new_version_id() -> str:
    """32 characters that mean nothing, as S3's do."""
    return secrets.token_urlsafe(24)


class VersionArchive:
    """Where a version's file goes when another takes its place. The caller holds the lock.

    A version is kept by a second name (hard link) before the first one is given away: a process
    killed in between loses nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, version: StoredObject) -> Path:
        digest = hashlib.sha256(version.key.encode()).hexdigest()[:32]
        name = f"{digest}-{version.identity.mtime_ns}-{version.identity.size}"
        return self._folder / version.bucket / name

    def keep(self, version: StoredObject, file: Path) -> None:
        target = self.path(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(file)
        except FileExistsError:
            return  # kept already, by a write that was killed or refused afterwards
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._copy(file, target)

    def _copy(self, file: Path, target: Path) -> None:
        partial = target.with_suffix(".partial")
        shutil.copy2(file, partial)
        os.replace(partial, target)  # noqa: PTH105

    def has(self, version: StoredObject) -> bool:
        return self.path(version).is_file()

    def open(self, version: StoredObject) -> FileIO | None:
        try:
            return self.path(version).open("rb", buffering=0)
        except FileNotFoundError:
            return None

    def remove(self, version: StoredObject) -> None:
        self.path(version).unlink(missing_ok=True)

    def remove_bucket(self, bucket: str) -> None:
        shutil.rmtree(self._folder / bucket, ignore_errors=True)


def valid_versions(
    rows: list[StoredObject], present: StoredObject | None, archive: VersionArchive
) -> list[StoredObject]:
    """The versions and markers of one key that count, newest first.

    The file system commits: a row of a write that was killed describes no file, and a marker
    newer than the file that is there belongs to a delete that did not come to its end.
    """
    former = [
        row
        for row in rows
        if (present is None or row.identity != present.identity)
        and (
            (present is None or row.identity.mtime_ns < present.identity.mtime_ns)
            if row.is_marker
            else archive.has(row)
        )
    ]
    return [present, *former] if present else former
