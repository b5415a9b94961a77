"""Files that are being written: outside every bucket, on the same file system."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol

from mlops.stores.objects.failures import translated

COPY_BYTES = 1 << 20
_NO_KERNEL_COPY = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF)


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
        with translated(self.path):
            _write_all(self._file, data)
        self.size += len(data)

    def copy_from(self, source: BinaryIO, length: int | None = None) -> None:
        """Add what is left of `source`, or its next `length` bytes."""
        left = length
        while data := source.read(COPY_BYTES if left is None else min(left, COPY_BYTES)):
            self.write(data)
            left = None if left is None else left - len(data)

    def append(self, file: Path, *, hashed: bool) -> None:
        """Add the content of another file, inside the kernel when nobody needs to see it."""
        with file.open("rb", buffering=0) as source:
            if hashed:
                self.copy_from(source)
            else:
                self.copy_unseen(source)

    def copy_unseen(self, source: BinaryIO) -> None:
        """Add what is left of a file without hashing it: `md5` means nothing afterwards."""
        with translated(self.path):
            self.size += _copy_in_kernel(source, self._file)

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
        self.remove()

    def remove(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)  # when published, it has another name now

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


def _copy_in_kernel(source: BinaryIO, target: BinaryIO) -> int:
    """Copy what is left of `source`; return the bytes. Reflinks where the file system has them."""
    total = 0
    try:
        while count := os.copy_file_range(source.fileno(), target.fileno(), 1 << 30):
            total += count
    except (AttributeError, OSError) as error:  # no Linux, or a file system that refuses
        if isinstance(error, OSError) and error.errno not in _NO_KERNEL_COPY:
            raise
        while data := source.read(COPY_BYTES):
            _write_all(target, data)
            total += len(data)
    return total


def _write_all(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:  # an unbuffered write may be short
        view = view[file.write(view) :]
