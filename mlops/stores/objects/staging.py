"""Files that are being written: outside every bucket, on the same file system."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

COPY_BYTES = 1 << 20


class Hasher(Protocol):
    """What `hashlib` gives, as far as it is needed here."""

    def update(self, data: bytes, /) -> object: ...


class StagedFile:
    """A new object's content while it arrives. Leaving the block without `keep` removes it."""

    def __init__(self, path: Path, hashers: tuple[Hasher, ...] = ()) -> None:
        self.path = path
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashers = (self._md5, *hashers)
        # The last moment in which anyone has it open for writing is before it has its name.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, data: bytes) -> None:
        for hasher in self._hashers:
            hasher.update(data)
        view = memoryview(data)
        while view:  # an unbuffered write may be short
            view = view[self._file.write(view) :]
        self.size += len(data)

    def copy_from(self, source: BinaryIO) -> None:
        while data := source.read(COPY_BYTES):
            self.write(data)

    @property
    def md5(self) -> str:
        """Hexadecimal MD5 of what was written, S3's ETag of a simple object."""
        return self._md5.hexdigest()

    def __enter__(self) -> StagedFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        with suppress(FileNotFoundError):  # published: it has another name now
            self.path.unlink()

    def seal(self) -> None:
        """No more is written."""
        self._file.close()


class StagingArea:
    """A folder of one store instance for its staged files.

    It is locked while the instance lives; what a killed process left is found unlocked by the
    next instance, and removed.
    """

    def __init__(self, parent: Path) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        self._parent = parent
        self._remove_leftovers()
        self.folder = parent / secrets.token_hex(8)
        # Locked before the folder exists, so that no other instance takes it for a leftover.
        self._lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.folder.mkdir()

    @property
    def _lock_file(self) -> Path:
        return self.folder.with_suffix(".lock")

    def new_path(self) -> Path:
        return self.folder / secrets.token_hex(8)

    def new_file(self, hashers: tuple[Hasher, ...] = ()) -> StagedFile:
        return StagedFile(self.new_path(), hashers)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._lock_file.unlink(missing_ok=True)
        os.close(self._lock)

    def _remove_leftovers(self) -> None:
        for lock_file in self._parent.glob("*.lock"):
            try:
                descriptor = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # alive
            else:
                shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)
                lock_file.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
