"""Blobs at ``<root>/blobs/sha256/<hex>``, unfinished uploads at ``<root>/uploads/<name>``.

An upload's file is the truth about it: as many bytes as it has are received, also after kill -9.
A blob comes into being by the rename of a whole file whose digest has been computed, so there is
never half of one. The digest is computed while the bytes come; after a restart it is read anew.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from mlops.errors import DiskFull, NoSuchBlob, StoreError, UploadInUse

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_UPLOAD = re.compile(r"[0-9A-Za-z-]{1,64}")
_READ_BYTES = 1 << 20
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileBlobStore:
    """Implements `mlops.ports.BlobStore`. One instance for a folder: the gateway's."""

    def __init__(self, root: Path) -> None:
        """`root` is made with the first content."""
        self._blobs = root / "blobs/sha256"
        self._uploads = root / "uploads"
        self._lock = threading.Lock()
        self._writing: set[str] = set()
        self._hashes: dict[str, Any] = {}

    # --- uploads ---

    def begin(self, upload: str) -> None:
        path = self._upload(upload)
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("xb").close()
        self._hashes[upload] = hashlib.sha256()

    def received(self, upload: str) -> int | None:
        return _size(self._upload(upload))

    def append(self, upload: str, pieces: Iterable[bytes]) -> int:
        path = self._upload(upload)
        with self._only_writer(upload):
            hasher = self._hash_of(upload)
            # Not created here: who adds to a cancelled upload must not bring it back.
            with _translated(path), path.open("r+b", buffering=0) as file:
                size = file.seek(0, os.SEEK_END)
                for piece in pieces:
                    _write_whole(file, piece, size)
                    size += len(piece)
                    hasher.update(piece)
        return size

    def digest(self, upload: str) -> str:
        with self._only_writer(upload):
            return f"sha256:{self._hash_of(upload).hexdigest()}"

    def publish(self, upload: str, digest: str) -> None:
        path, target = self._upload(upload), self._blob(digest)
        with self._only_writer(upload), _translated(path):
            if self._hash_of(upload).hexdigest() != target.name:
                raise UploadInUse(f"Another request has added to the upload {upload}")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o444)
            path.rename(target)
        self._hashes.pop(upload, None)

    def cancel(self, upload: str) -> None:
        path = self._upload(upload)
        with _translated(path):
            path.unlink(missing_ok=True)
        self._hashes.pop(upload, None)

    def uploads(self) -> Mapping[str, datetime]:
        found = {}
        for path in _files(self._uploads):
            try:
                found[path.name] = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            except FileNotFoundError:
                continue  # ended meanwhile
        return found

    @contextmanager
    def _only_writer(self, upload: str) -> Iterator[None]:
        with self._lock:
            if upload in self._writing:
                raise UploadInUse(f"Another request is adding to the upload {upload}")
            self._writing.add(upload)
        try:
            yield
        finally:
            with self._lock:
                self._writing.discard(upload)

    def _hash_of(self, upload: str) -> Any:
        hasher = self._hashes.get(upload)
        if hasher is None:
            path = self._upload(upload)
            with _translated(path), path.open("rb", buffering=0) as file:
                hasher = hashlib.file_digest(file, "sha256")
            self._hashes[upload] = hasher
        return hasher

    # --- contents ---

    def put(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self.size(digest) is None:
            name = token_hex(16)
            self.begin(name)
            self.append(name, [data])
            self.publish(name, digest)
        return digest

    def size(self, digest: str) -> int | None:
        return _size(self._blob(digest))

    def open(self, digest: str) -> BinaryIO:
        path = self._blob(digest)
        try:
            return path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise NoSuchBlob(f"There is no content {digest}", where=str(path)) from error
        except OSError as error:
            raise _store_error(error, path) from error

    def delete(self, digest: str) -> None:
        path = self._blob(digest)
        with _translated(path):
            path.unlink(missing_ok=True)

    def digests(self) -> Sequence[str]:
        return [f"sha256:{path.name}" for path in _files(self._blobs)]

    def clear(self) -> None:
        for folder in (self._blobs, self._uploads):
            shutil.rmtree(folder, ignore_errors=True)
        self._hashes.clear()

    # --- where they are ---

    def _blob(self, digest: str) -> Path:
        found = _DIGEST.fullmatch(digest)
        if found is None:
            raise NoSuchBlob(f"{digest[:100]!r} is no sha256 digest")
        return self._blobs / found[1]

    def _upload(self, upload: str) -> Path:
        if not _UPLOAD.fullmatch(upload):
            raise StoreError(f"{upload[:100]!r} is no name of an upload")
        return self._uploads / upload


def _write_whole(file: Any, piece: bytes, at: int) -> None:
    """Write at the end, all or nothing: what is in the file is what has been hashed."""
    view = memoryview(piece)
    try:
        while view:  # an unbuffered write may be short
            view = view[file.write(view) :]
    except OSError:
        file.truncate(at)
        raise


def _files(folder: Path) -> Sequence[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _store_error(error, path) from error


def _store_error(error: OSError, path: Path) -> StoreError | DiskFull:
    if error.errno in _NO_ROOM:
        return DiskFull(
            f"There is no room to write an image: {error.strerror}",
            where=str(path),
            next_step="make room on this disk and push again",
        )
    return StoreError(
        f"The registry cannot use its files: {error.strerror or error}",
        where=str(path),
        next_step="check the folder's owner and permissions",
    )
