"""What a job leaves, moved into S3.

Finished files are moved into the store (``adopt``); while a job runs, and where a file has another
name, they are copied.
"""

from __future__ import annotations

from pathlib import Path

from mlops.errors import NoSuchBucket
from mlops.execution.archives import Found, UnsafeLink, walk_files
from mlops.execution.failures import StepFailure
from mlops.execution.names import split_s3_uri
from mlops.ports import ObjectStore

SYNC_SECONDS = 5.0
"""How often the folders of a running job are looked at for ``S3UploadMode: Continuous``."""


def join_uri(uri: str, *names: str) -> str:
    return "/".join([uri.rstrip("/"), *names])


def upload_folder(objects: ObjectStore, folder: Path, base: Path, uri: str) -> int:
    """Move every file below `folder` to its name below `uri`; returns how many.

    Raises:
        StepFailure: the bucket is missing, or a link leads out of `base` (``/opt/ml``).
    """
    count = 0
    try:
        for found in walk_files(folder, base):
            upload_file(objects, found, join_uri(uri, found.name))
            count += 1
    except UnsafeLink as error:
        raise StepFailure(f"ClientError: Upload to {uri} failed: {error}") from error
    return count


def upload_file(objects: ObjectStore, found: Found, uri: str) -> None:
    """Move (or, behind a link, copy) one finished file to `uri`."""
    bucket, key = split_s3_uri(uri)
    try:
        if found.linked:
            with found.file.open("rb") as file:
                objects.put(bucket, key, file)
        else:
            objects.adopt(bucket, key, found.file)
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
                    self._upload(found, stamp)
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
        try:
            for found in walk_files(self._folder, self._base):
                stamp = _stamp(found.file)
                if self._uploaded.get(found.name) != stamp:
                    self._upload(found, stamp)
        except UnsafeLink as error:
            raise StepFailure(f"ClientError: Upload to {self._uri} failed: {error}") from error

    def _upload(self, found: Found, stamp: tuple[int, int]) -> None:
        uri = join_uri(self._uri, found.name)
        bucket, key = split_s3_uri(uri)
        with found.file.open("rb") as file:
            try:
                self._objects.put(bucket, key, file)
            except NoSuchBucket as error:
                raise missing_bucket(uri) from error
        self._uploaded[found.name] = stamp


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_mtime_ns, status.st_size
