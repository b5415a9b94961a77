"""What a job leaves, moved into S3.

Finished files are moved into the store (``adopt``); while a job runs, and where a file has another
name, they are copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mlops.errors import NoSuchBucket
from mlops.execution.archives import Found, UnsafeLink, walk_files
from mlops.execution.failures import StepFailure
from mlops.ports import ObjectStore
from mlops.s3_uri import split_s3_uri

SYNC_SECONDS = 5.0
"""How often the folders of a running job are looked at for ``S3UploadMode: Continuous``."""


def join_uri(uri: str, *names: str) -> str:
    return "/".join([uri.rstrip("/"), *names])


def upload_folders(objects: ObjectStore, base: Path, folders: Iterable[tuple[Path, str]]) -> None:
    """Move every file below each folder to its name below the folder's S3 prefix.

    A file with several names (a link to it, a folder within another's) is copied to each. Nothing
    is moved before all names are known, or a move would take a link's target away.

    Raises:
        StepFailure: a bucket is missing, or a link leads out of `base` (``/opt/ml``).
    """
    uploads = [
        (found, join_uri(uri, found.name))
        for folder, uri in folders
        for found in _found(folder, base, uri)
    ]
    names = Counter(found.file for found, _ in uploads)
    copies = [found.linked or names[found.file] > 1 for found, _ in uploads]
    for (found, uri), copy in sorted(
        zip(uploads, copies, strict=True), key=lambda upload: not upload[1]
    ):
        _upload(objects, found.file, uri, copy=copy)


def _found(folder: Path, base: Path, uri: str) -> list[Found]:
    try:
        return list(walk_files(folder, base))
    except UnsafeLink as error:
        raise StepFailure(f"ClientError: Upload to {uri} failed: {error}") from error


def _upload(objects: ObjectStore, file: Path, uri: str, *, copy: bool) -> None:
    bucket, key = split_s3_uri(uri)
    try:
        if copy:
            with file.open("rb") as content:
                objects.put(bucket, key, content)
        else:
            objects.adopt(bucket, key, file)
    except NoSuchBucket as error:
        raise missing_bucket(uri) from error


def missing_bucket(uri: str) -> StepFailure:
    bucket, _ = split_s3_uri(uri)
    return StepFailure(
        f"ClientError: Artifact upload failed: The specified bucket does not exist: {bucket} "
        f"(in {uri}). Make the bucket, or correct the output's S3 address."
    )


class FolderSync:
    """Keeps an S3 prefix up to date with a folder that a running job writes to.

    A file is uploaded when it has changed since it was last uploaded and has stood still between
    two looks, so that a file in the middle of being written waits. What the job deletes stays in
    S3. ``finish`` uploads the rest, standing still or not: the job has ended.
    """

    def __init__(self, objects: ObjectStore, folder: Path, base: Path, uri: str) -> None:
        self._objects = objects
        self._folder = folder
        self._base = base
        self._uri = uri
        self._uploaded: dict[str, tuple[int, int]] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    def assume_uploaded(self) -> None:
        """Take what is in the folder now as being in S3 already (it came from there)."""
        for found in walk_files(self._folder, self._base):
            self._uploaded[found.name] = _stamp(found.file)

    def look(self) -> None:
        """Upload what has changed and stands still. Files that go away meanwhile are let go."""
        try:
            for found in walk_files(self._folder, self._base):
                stamp = _stamp(found.file)
                if self._seen.get(found.name) == stamp != self._uploaded.get(found.name):
                    self._send(found, stamp)
                self._seen[found.name] = stamp
        except (FileNotFoundError, PermissionError, UnsafeLink):
            # The job is at work in there: it deletes, links, and may own files that are readable
            # only once it has ended. finish() sees them again, and says what is wrong with them.
            return

    def finish(self) -> None:
        """Upload everything that is not in S3 as it is now.

        Raises:
            StepFailure: the bucket is missing, or a link leads out of ``/opt/ml``.
        """
        for found in _found(self._folder, self._base, self._uri):
            stamp = _stamp(found.file)
            if self._uploaded.get(found.name) != stamp:
                self._send(found, stamp)

    def _send(self, found: Found, stamp: tuple[int, int]) -> None:
        _upload(self._objects, found.file, join_uri(self._uri, found.name), copy=True)
        self._uploaded[found.name] = stamp


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
