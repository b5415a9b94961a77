"""Room on the disk for the last word.

A job that fills the disk must still be recorded as failed, or whoever waits for it waits for ever.
So a small file holds some room; it is given up when a record cannot be written.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from mlops.errors import DiskFull

RESERVED_BYTES = 1024 * 1024  # a few hundred records, as SQLite's log takes 4 KiB pages


class DiskReserve:
    """A file of `size` bytes at `file`, once held. Safe to use from several threads."""

    def __init__(self, file: Path, size: int = RESERVED_BYTES) -> None:
        self._file = file
        self._size = size
        self._lock = threading.Lock()

    def hold(self) -> None:
        """Take the room, unless it is held already.

        Raises:
            DiskFull: there is not even so much.
        """
        with self._lock:
            if not self._file.exists():
                try:
                    self._take()
                except OSError as error:
                    self._file.unlink(missing_ok=True)
                    raise DiskFull(
                        f"The disk is full: nothing can be run ({error.strerror})",
                        where=str(self._file.parent),
                        next_step="free some space ('mlops clean' removes old executions)",
                    ) from error

    def _take(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, self._size)
            else:  # macOS
                file.write(bytes(self._size))

    def release(self) -> bool:
        """Give the room up; False when it was not held."""
        with self._lock:
            try:
                self._file.unlink()
            except FileNotFoundError:
                return False
            return True
