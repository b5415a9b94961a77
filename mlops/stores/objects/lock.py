"""The one lock of an object store, for threads and processes."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType


class StoreLock:
    """Held for the moment in which a write becomes visible, never while bytes are copied.

    ``flock`` alone does not keep the threads of one process apart, since they share a descriptor;
    a thread lock alone does not see other processes. The kernel lets go when a process is killed.
    May be entered again by the thread that holds it.
    """

    def __init__(self, file: Path) -> None:
        self._threads = threading.RLock()
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._depth = 0

    def __enter__(self) -> None:
        self._threads.acquire()
        try:
            if self._depth == 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._depth += 1
        except BaseException:
            self._threads.release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        os.close(self._descriptor)
