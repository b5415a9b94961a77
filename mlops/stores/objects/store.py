"""S3 as plain files: the object store of a local run.

    <root>/<bucket>/<key>              every object, under its own name (`keys` says when not)
    <root>/.meta/index.sqlite          what the files do not say (`index`)
    <root>/.meta/lock                  held while a write becomes visible (`lock`)
    <root>/.meta/staging/              content that is still arriving (`staging`)
    <root>/.meta/versions/<bucket>/    former versions, in buckets with versioning
    <root>/.meta/uploads/<id>/         parts of multipart uploads (`uploads`)

A write goes through four stages, in this order, and may be killed after any of them:

1. the content is written to a staged file, and hashed, without the lock;
2. under the lock the conditions are checked, the file gets its modification time, and a row with
   the metadata, tied to that time, is committed: nobody sees it, for no file matches;
3. the file is renamed to its place: content and metadata are there, whole, in this one moment;
4. rows and versions that the write replaced are removed.

Readers take no lock: they open the file, and ask for the row that matches what they opened. Where
none does, a writer was faster and they look again, or a person made the file and the answer is
computed from it. Files are never written in place; they are read-only so that nobody does it by
accident, and when it is done nevertheless, the modification time tells.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from heapq import merge
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO

from mlops.errors import DiskFull, InvalidKey, NoSuchBucket, NoSuchKey, ServiceError, StoreError
from mlops.ports import ObjectInfo
from mlops.stores.objects.failures import translated
from mlops.stores.objects.index import Index
from mlops.stores.objects.keys import check_bucket, check_key
from mlops.stores.objects.lock import StoreLock
from mlops.stores.objects.model import (
    DEFAULT_CONTENT_TYPE,
    NO_CONDITIONS,
    NULL_VERSION,
    Attributes,
    Deletion,
    Identity,
    OpenedObject,
    StoredObject,
    WriteConditions,
)
from mlops.stores.objects.staging import COPY_BYTES, Hasher, StagedFile, StagingArea
from mlops.stores.objects.tree import BucketTree, Found
from mlops.stores.objects.uploads import Uploads
from mlops.stores.objects.versions import VersionArchive, new_version_id, valid_versions

VERSIONING = "versioning"
"""The bucket setting that holds ``Enabled`` or ``Suspended``."""
_CREATED = "created"
_META = ".meta"
_FIRST_BATCH, _LARGEST_BATCH = 32, 512


class FileObjectStore:
    """Implements `mlops.ports.ObjectStore`, and what the S3 face needs beyond it.

    Several instances, in several processes, may use one root at the same time. Deleting an object
    that is not there is no error, as in S3.
    """

    def __init__(self, root: Path) -> None:
        with translated(root):
            root.mkdir(parents=True, exist_ok=True)
            self._root = Path(os.path.realpath(root))
            meta = self._root / _META
            meta.mkdir(exist_ok=True)
            self._archive = VersionArchive(meta / "versions")
            self._lock = StoreLock(meta / "lock")
            self._staging = StagingArea(meta / "staging")
            self._folding, self._file_mode = _probe(self._staging.folder)
        self._index = Index(meta / "index.sqlite")
        self.uploads = Uploads(meta / "uploads", self._index, self._lock, self._staging)
        self._last_moment = 0

    @property
    def root(self) -> Path:
        return self._root

    def close(self) -> None:
        self._index.close()
        self._staging.close()
        self._lock.close()

    # --- Buckets ---

    def create_bucket(self, bucket: str) -> None:
        check_bucket(bucket)
        with translated(self._root), self._lock:
            if not self.has_bucket(bucket):
                # Of a bucket of that name whose deletion was killed.
                self._index.forget_bucket(bucket)
                self._index.put_setting(bucket, _CREATED, str(time.time_ns()))
                (self._root / bucket).mkdir()

    def delete_bucket(self, bucket: str) -> None:
        """Remove a bucket that has no object and no former version.

        Raises:
            ServiceError: BucketNotEmpty.
        """
        with translated(self._root), self._lock:
            tree = self._tree(bucket)
            is_empty = next(self.list_versions(bucket), None) is None
            if not is_empty or not tree.remove_empty_folders():
                raise ServiceError(
                    "BucketNotEmpty", "The bucket you tried to delete is not empty", status=409
                )
            for upload in self.uploads.in_bucket(bucket):
                self.uploads.discard(upload)
            self._archive.remove_bucket(bucket)
            with _visible_already():
                self._index.forget_bucket(bucket)

    def list_buckets(self) -> list[tuple[str, datetime]]:
        """Every bucket and when it was made, in the order of the names."""
        with translated(self._root):
            names = sorted(entry.name for entry in self._root.iterdir())
            names = [name for name in names if self.has_bucket(name)]
        return [(name, self.created_at(name)) for name in names]

    def created_at(self, bucket: str) -> datetime:
        created = self._index.get_setting(bucket, _CREATED)
        if created is None:  # made by hand
            created = str((self._root / bucket).lstat().st_ctime_ns)
        return datetime.fromtimestamp(int(created) / 1e9, UTC)

    def get_setting(self, bucket: str, name: str) -> str | None:
        """What a client stored with a bucket: its policy, its tags, …"""
        self.require_bucket(bucket)
        return self._index.get_setting(bucket, name)

    def put_setting(self, bucket: str, name: str, value: str) -> None:
        with self._lock:
            self.require_bucket(bucket)
            self._index.put_setting(bucket, name, value)

    def delete_setting(self, bucket: str, name: str) -> None:
        self.require_bucket(bucket)
        self._index.delete_setting(bucket, name)

    def versioning(self, bucket: str) -> str | None:
        """``Enabled``, ``Suspended``, or None while it was never enabled."""
        return self._index.get_setting(bucket, VERSIONING)

    def has_bucket(self, bucket: str) -> bool:
        with suppress(InvalidKey, OSError):
            return stat.S_ISDIR((self._root / check_bucket(bucket)).lstat().st_mode)
        return False

    def require_bucket(self, bucket: str) -> None:
        """Raise NoSuchBucket or InvalidKey where `bucket` cannot be used."""
        self._tree(bucket)

    def _tree(self, bucket: str) -> BucketTree:
        check_bucket(bucket)
        if not self.has_bucket(bucket):
            raise NoSuchBucket(
                f"The bucket {bucket} does not exist",
                where=str(self._root),
                next_step="create it first",
            )
        return BucketTree(f"{self._root}/{bucket}", self._lock, folding=self._folding)

    # --- Writing ---

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes | BinaryIO,
        *,
        content_type: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> ObjectInfo:
        self._check_target(bucket, key)
        attributes = Attributes(
            content_type=content_type or DEFAULT_CONTENT_TYPE, metadata=dict(metadata or {})
        )
        with self.stage() as staged:
            if isinstance(body, bytes):
                staged.write(body)
            else:
                staged.copy_from(body)
            return self.publish(bucket, key, staged, attributes).info

    def adopt(self, bucket: str, key: str, file: Path) -> ObjectInfo:
        """Move a finished file into the store, without a copy when it is on the same disk.

        The file is read once for its MD5. It is copied after all when it has other names (hard
        links): whoever holds one could write into the store. A link, device or folder is refused.
        """
        self._check_target(bucket, key)
        with translated(self._root):
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise StoreError("Only a regular file becomes an object", where=str(file))
            if status.st_nlink == 1:
                etag = _md5_of(file)
                try:
                    return self._publish(bucket, key, file, etag, Attributes()).info
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
            with file.open("rb") as source, self.stage() as staged:
                staged.copy_from(source)
                info = self.publish(bucket, key, staged, Attributes()).info
            file.unlink()
            return info

    def stage(self, *hashers: Hasher) -> StagedFile:
        """A new staged file; `hashers` see every byte that is written to it."""
        with translated(self._root):
            return self._staging.new_file(hashers)

    def publish(
        self,
        bucket: str,
        key: str,
        staged: StagedFile,
        attributes: Attributes,
        *,
        etag: str | None = None,
        conditions: WriteConditions = NO_CONDITIONS,
    ) -> StoredObject:
        """Make a staged file the object at `key`. The ETag is its MD5 when not given.

        Raises:
            ServiceError: PreconditionFailed or NoSuchKey, where a condition does not hold.
        """
        staged.seal()
        with translated(self._root):
            return self._publish(
                bucket, key, staged.path, etag or staged.md5, attributes, conditions
            )

    def _check_target(self, bucket: str, key: str) -> None:
        check_key(key)
        self.require_bucket(bucket)

    def _publish(
        self,
        bucket: str,
        key: str,
        file: Path,
        etag: str,
        attributes: Attributes,
        conditions: WriteConditions = NO_CONDITIONS,
    ) -> StoredObject:
        check_key(key)
        file.chmod(self._file_mode)
        with self._lock:
            tree = self._tree(bucket)
            versioning = self.versioning(bucket)
            present = self._present(tree, bucket, key) if conditions or versioning else None
            conditions.check(present)
            stored = StoredObject(
                bucket=bucket,
                key=key,
                identity=self._stamp(file),
                etag=etag,
                attributes=attributes,
                version_id=new_version_id() if versioning == "Enabled" else NULL_VERSION,
            )
            self._index.put(stored)
            try:
                self._keep_former(tree, present if versioning else None, stored)
                tree.place(str(file), key)
            except BaseException:
                self._index.delete(bucket, key, stored.identity)
                raise
            with _visible_already():
                self._forget_null(stored)
            return stored

    def _keep_former(
        self, tree: BucketTree, present: StoredObject | None, following: StoredObject
    ) -> None:
        """Keep the present version, unless the one that follows replaces it."""
        if present is None or present.version_id == following.version_id:
            return
        path = tree.find(present.key)
        if path is not None:
            self._archive.keep(present, Path(path))

    def _forget_null(self, following: StoredObject) -> None:
        """Of versions without an id there is one at a time: the last."""
        if following.version_id != NULL_VERSION:
            return
        bucket, key = following.bucket, following.key
        if self.versioning(bucket):
            for version in self._index.versions(bucket, key):
                if version.version_id == NULL_VERSION and not version.is_marker:
                    self._archive.remove(version)
        self._index.delete_others(bucket, key, NULL_VERSION, following.identity)

    def _stamp(self, file: Path) -> Identity:
        """Give a file the present moment as its own: no two files of this store share one."""
        moment = self._next_moment()
        os.utime(file, ns=(moment, moment))
        return _identity_of(file.stat())

    def _next_moment(self) -> int:
        self._last_moment = max(time.time_ns(), self._last_moment + 1)
        return self._last_moment

    def delete(self, bucket: str, key: str) -> None:
        self.delete_object(bucket, key)

    def delete_object(
        self, bucket: str, key: str, *, version_id: str | None = None, if_match: str | None = None
    ) -> Deletion:
        """DeleteObject: in a bucket with versioning it leaves a marker, or removes one version.

        Raises:
            ServiceError: PreconditionFailed, where `if_match` is not the object's ETag.
        """
        check_key(key)
        with translated(self._root), self._lock:
            tree = self._tree(bucket)
            versioning = self.versioning(bucket)
            needs_present = versioning or version_id or if_match
            present = self._present(tree, bucket, key) if needs_present else None
            if present is not None:
                WriteConditions(if_match=if_match).check(present)
            if version_id is not None:
                return self._delete_version(tree, bucket, key, version_id, present)
            if versioning:
                return self._delete_by_marker(tree, bucket, key, versioning, present)
            if tree.remove(key):
                with _visible_already():
                    self._index.delete_others(bucket, key, NULL_VERSION, None)
            return Deletion()

    def _delete_by_marker(
        self,
        tree: BucketTree,
        bucket: str,
        key: str,
        versioning: str,
        present: StoredObject | None,
    ) -> Deletion:
        marker = StoredObject(
            bucket=bucket,
            key=key,
            identity=Identity(self._next_moment(), 0),
            etag="",
            attributes=Attributes(),
            version_id=new_version_id() if versioning == "Enabled" else NULL_VERSION,
            is_marker=True,
        )
        self._index.put(marker)
        self._keep_former(tree, present, marker)
        tree.remove(key)
        with _visible_already():
            self._forget_null(marker)
        return Deletion(marker.version_id, is_marker=True)

    def _delete_version(
        self,
        tree: BucketTree,
        bucket: str,
        key: str,
        version_id: str,
        present: StoredObject | None,
    ) -> Deletion:
        versions = valid_versions(self._index.versions(bucket, key), present, self._archive)
        doomed = next((version for version in versions if version.version_id == version_id), None)
        if doomed is None:
            return Deletion(version_id)
        following = next((version for version in versions if version is not doomed), None)
        if doomed is versions[0]:  # the one before it becomes the current one
            if following is not None and not following.is_marker:
                tree.place(str(self._archive.path(following)), key)
            else:
                tree.remove(key)
        self._archive.remove(doomed)
        if doomed.is_marker:
            self._index.delete(bucket, key, doomed.identity)
        else:
            with _visible_already():
                self._index.delete(bucket, key, doomed.identity)
        return Deletion(version_id, is_marker=doomed.is_marker)

    def set_tags(
        self, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str | None = None
    ) -> StoredObject:
        """Replace the tags of an object, which stays the same otherwise."""
        with self._lock:
            present = self.head_object(bucket, key, version_id=version_id)
            tagged = replace(present, attributes=replace(present.attributes, tags=dict(tags)))
            self._index.put(tagged)
            return tagged

    # --- Reading ---

    def head(self, bucket: str, key: str) -> ObjectInfo:
        return self.head_object(bucket, key).info

    def open(self, bucket: str, key: str) -> BinaryIO:
        return io.BufferedReader(self.open_object(bucket, key).file)

    def head_object(self, bucket: str, key: str, *, version_id: str | None = None) -> StoredObject:
        opened = self.open_object(bucket, key, version_id=version_id)
        opened.file.close()
        return opened.object

    def open_object(self, bucket: str, key: str, *, version_id: str | None = None) -> OpenedObject:
        """An object's bytes and the metadata that belong to these very bytes.

        Raises:
            ServiceError: NoSuchVersion, or MethodNotAllowed for a delete marker.
        """
        with translated(self._root):
            tree = self._tree(bucket)
            if version_id is not None:
                return self._open_version(tree, bucket, check_key(key), version_id)
            opened = self._open_known(tree, bucket, key)
            if opened is None:
                with self._lock:  # a writer may have been between its rename and our question
                    opened = self._open_known(tree, bucket, key)
            return opened or self._describe(tree, bucket, key)

    def _open_version(
        self, tree: BucketTree, bucket: str, key: str, version_id: str
    ) -> OpenedObject:
        with self._lock:  # versions change places
            versions = self._versions_of(tree, bucket, key)
            found = next((one for one in versions if one.version_id == version_id), None)
            if found is None:
                raise ServiceError(
                    "NoSuchVersion", "The specified version does not exist.", status=404
                )
            if found.is_marker:
                raise ServiceError(
                    "MethodNotAllowed",
                    "The specified method is not allowed against this resource.",
                    status=405,
                )
            file = self._archive.open(found) or self._open_file(tree, bucket, key)
            return OpenedObject(found, file)

    def _versions_of(self, tree: BucketTree, bucket: str, key: str) -> list[StoredObject]:
        present = self._present(tree, bucket, key)
        versions = valid_versions(self._index.versions(bucket, key), present, self._archive)
        return [replace(one, is_latest=one is versions[0]) for one in versions]

    def versions(self, bucket: str, key: str) -> list[StoredObject]:
        """Every version and marker of one key, newest first."""
        tree = self._tree(bucket)
        with self._lock:
            return self._versions_of(tree, bucket, check_key(key))

    def latest_marker(self, bucket: str, key: str) -> StoredObject | None:
        """The delete marker that makes an object not be there, if it is one."""
        versions = self.versions(bucket, key)
        return versions[0] if versions and versions[0].is_marker else None

    def list_versions(
        self, bucket: str, prefix: str = "", after: str = ""
    ) -> Iterator[StoredObject]:
        """Every version and marker of the keys greater than `after`, newest first for each."""
        tree = self._tree(bucket)
        present = (found.key for found in tree.walk(prefix, after))
        known = self._known_keys(bucket, prefix, after)
        for key, _ in groupby(merge(present, known, key=str.encode)):
            yield from self.versions(bucket, key)

    def _known_keys(self, bucket: str, prefix: str, after: str) -> Iterator[str]:
        while keys := self._index.keys_after(bucket, prefix, after, _LARGEST_BATCH):
            yield from keys
            after = keys[-1]

    def _open_known(self, tree: BucketTree, bucket: str, key: str) -> OpenedObject | None:
        file = self._open_file(tree, bucket, key)
        stored = self._index.get(bucket, key, _identity_of(os.fstat(file.fileno())))
        if stored is None:
            file.close()
            return None
        return OpenedObject(stored, file)

    def _open_file(self, tree: BucketTree, bucket: str, key: str) -> io.FileIO:
        descriptor = tree.open(check_key(key))
        if descriptor is None:
            raise NoSuchKey(
                f"There is no object s3://{bucket}/{key}",
                where=str(self._root / bucket),
                next_step="check the key, or list the bucket",
            )
        return os.fdopen(descriptor, "rb", buffering=0)

    def _describe(self, tree: BucketTree, bucket: str, key: str) -> OpenedObject:
        """An object that a person made: its ETag is computed once, and kept while it is as it is.

        A file that changes while it is read is answered with what was read, and nothing is kept.
        """
        file = self._open_file(tree, bucket, key)
        identity = _identity_of(os.fstat(file.fileno()))
        etag = _md5_of_open(file)
        stored = StoredObject(
            bucket=bucket, key=key, identity=identity, etag=etag, attributes=Attributes()
        )
        if _identity_of(os.fstat(file.fileno())) == identity:
            self._index.put(stored)
        return OpenedObject(stored, file)

    def _present(self, tree: BucketTree, bucket: str, key: str) -> StoredObject | None:
        try:
            opened = self._open_known(tree, bucket, key) or self._describe(tree, bucket, key)
        except NoSuchKey:
            return None
        opened.file.close()
        return opened.object

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        return (
            found.info
            for found in self.list_objects(bucket, prefix)
            if isinstance(found, StoredObject)
        )

    def list_objects(
        self, bucket: str, prefix: str = "", after: str = "", *, collapse: bool = False
    ) -> Iterator[StoredObject | str]:
        """Objects as `BucketTree.walk` gives their keys; a common prefix is a ``str``.

        An object that is there from the first to the last step is given; one that comes or goes
        meanwhile may be.
        """
        tree = self._tree(bucket)
        return self._described(bucket, tree.walk(prefix, after, collapse=collapse))

    def _described(self, bucket: str, walk: Iterator[Found]) -> Iterator[StoredObject | str]:
        size = _FIRST_BATCH
        while batch := list(islice(walk, size)):
            rows = self._index.get_many(bucket, [found.key for found in batch if found.path])
            for found in batch:
                if found.path is None:
                    yield found.key
                    continue
                with suppress(NoSuchKey):  # deleted since
                    with suppress(FileNotFoundError, NotADirectoryError):  # moved since
                        identity = _identity_of(os.lstat(found.path))
                        known = rows.get((found.key, identity))
                        if known is not None:
                            yield known
                            continue
                    yield self.head_object(bucket, found.key)
            size = min(size * 2, _LARGEST_BATCH)

    def folder_of(self, bucket: str, prefix: str) -> Path | None:
        tree = self._tree(bucket)
        if prefix and not prefix.endswith("/") and tree.find(check_key(prefix)):
            return None
        with translated(self._root):
            folder = tree.plain_folder(prefix)
            if folder is None or not prefix or prefix.endswith("/"):
                return folder
            return None if tree.has_siblings(prefix) else folder

    def file_of(self, bucket: str, key: str) -> Path:
        path = self._tree(bucket).find(check_key(key))
        if path is None:
            raise NoSuchKey(
                f"There is no object s3://{bucket}/{key}",
                where=str(self._root / bucket),
                next_step="check the key, or list the bucket",
            )
        return Path(path)


def _visible_already() -> AbstractContextManager[None]:
    """For the last stage of a write: the files have changed, and what is left in the index means
    nothing. On a full disk it stays there; a delete, above all, has to work then.
    """
    return suppress(DiskFull)


def _identity_of(status: os.stat_result) -> Identity:
    return Identity(status.st_mtime_ns, status.st_size)


def _md5_of(file: Path) -> str:
    with file.open("rb", buffering=0) as opened:
        return _md5_of_open(opened)


def _md5_of_open(file: BinaryIO) -> str:
    """MD5 of a whole file, which is left at its start."""
    md5 = hashlib.md5(usedforsecurity=False)
    while data := file.read(COPY_BYTES):
        md5.update(data)
    file.seek(0)
    return md5.hexdigest()


def _probe(folder: Path) -> tuple[bool, int]:
    """Whether the file system folds names, and the mode of an object's file.

    The mode follows the umask, which cannot be read without setting it. Its owner may write: a job
    gets a copy of the file's mode with its own copy of the file, and may write to that.
    """
    probe = folder / f"Probe-{secrets.token_hex(4)}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o644
    os.close(descriptor)
    folding = probe.with_name(probe.name.lower()).exists()
    probe.unlink()
    return folding, mode
