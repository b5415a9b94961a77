"""Where the operating system's errors become the store's."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops.errors import DiskFull, StoreError

# EFBIG: the limit of a process or a file system for one file; there is no room for this object.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def translated(root: Path) -> Iterator[None]:
    """Turn an OSError of the block into DiskFull or StoreError that names the file."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or root)
        if error.errno in _NO_ROOM:
            raise DiskFull(
                f"There is no room to write an object: {error.strerror}",
                where=where,
                next_step="make room on this disk and try again",
            ) from error
        raise StoreError(
            f"The object store cannot use its files: {error.strerror or error}",
            where=where,
            next_step="check the folder's owner and permissions",
        ) from error
