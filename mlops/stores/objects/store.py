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
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from mlops.errors import InvalidKey, NoSuchBucket, NoSuchKey, StoreError
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
    Identity,
    OpenedObject,
    StoredObject,
    WriteConditions,
)
from mlops.stores.objects.staging import COPY_BYTES, Hasher, StagedFile, StagingArea
from mlops.stores.objects.tree import BucketTree, Found

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
            self._versions = meta / "versions"
            self._lock = StoreLock(meta / "lock")
            self._staging = StagingArea(meta / "staging")
            self._folding, self._file_mode = _probe(self._staging.folder)
        self._index = Index(meta / "index.sqlite")
        self._last_stamp = 0

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
                self._index.put_setting(bucket, "created", str(time.time_ns()))
                (self._root / bucket).mkdir()

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
            with translated(self._root):
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
            conditions.check(bucket, key, self._present(tree, bucket, key) if conditions else None)
            stored = StoredObject(
                bucket=bucket,
                key=key,
                identity=self._stamp(file),
                etag=etag,
                attributes=attributes,
            )
            self._index.put(stored)
            try:
                tree.place(str(file), key)
            except BaseException:
                self._index.delete(bucket, key, stored.identity)
                raise
            self._index.delete_others(bucket, key, NULL_VERSION, stored.identity)
            return stored

    def _stamp(self, file: Path) -> Identity:
        """Give a file the present moment as its own: no two files of this store share one."""
        self._last_stamp = max(time.time_ns(), self._last_stamp + 1)
        os.utime(file, ns=(self._last_stamp, self._last_stamp))
        return _identity_of(file.stat())

    def delete(self, bucket: str, key: str) -> None:
        check_key(key)
        with translated(self._root), self._lock:
            if self._tree(bucket).remove(key):
                self._index.delete_others(bucket, key, NULL_VERSION, None)

    # --- Reading ---

    def head(self, bucket: str, key: str) -> ObjectInfo:
        return self.head_object(bucket, key).info

    def open(self, bucket: str, key: str) -> BinaryIO:
        return self.open_object(bucket, key).file

    def head_object(self, bucket: str, key: str) -> StoredObject:
        opened = self.open_object(bucket, key)
        opened.file.close()
        return opened.object

    def open_object(self, bucket: str, key: str) -> OpenedObject:
        """An object's bytes and the metadata that belong to these very bytes."""
        with translated(self._root):
            tree = self._tree(bucket)
            opened = self._open_known(tree, bucket, key)
            if opened is None:
                with self._lock:  # a writer may have been between its rename and our question
                    opened = self._open_known(tree, bucket, key)
            return opened or self._describe(tree, bucket, key)

    def _open_known(self, tree: BucketTree, bucket: str, key: str) -> OpenedObject | None:
        file = self._open_file(tree, bucket, key)
        stored = self._index.get(bucket, key, _identity_of(os.fstat(file.fileno())))
        if stored is None:
            file.close()
            return None
        return OpenedObject(stored, file)

    def _open_file(self, tree: BucketTree, bucket: str, key: str) -> BinaryIO:
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
            return tree.plain_folder(prefix)

    def file_of(self, bucket: str, key: str) -> Path:
        path = self._tree(bucket).find(check_key(key))
        if path is None:
            raise NoSuchKey(
                f"There is no object s3://{bucket}/{key}",
                where=str(self._root / bucket),
                next_step="check the key, or list the bucket",
            )
        return Path(path)


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

    The mode is read-only and follows the umask, which cannot be read without setting it.
    """
    probe = folder / f"Probe-{secrets.token_hex(4)}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode) & 0o444
    os.close(descriptor)
    folding = probe.with_name(probe.name.lower()).exists()
    probe.unlink()
    return folding, mode
