"""Log files as events: where each line is, and when it was written.

The files hold what jobs wrote, byte for byte, without times. A line's time is that of the last
write to its file when it was first seen here: exact to the pace of whoever follows, and the end of
the job for one that nobody has followed. Times never run backwards within a file and never change
while the gateway runs, so that positions by time, such as SDK v2's (sagemaker/logs.py), hold.
"""

from __future__ import annotations

import mmap
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LONGEST_MESSAGE = 256 * 1024
"""Bytes; a longer line is several events (CloudWatch's limit of an event, quotas page)."""


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line of a file. `begin` and `end` are bytes, without the line's end of its own."""

    begin: int
    end: int
    timestamp: int
    """Epoch milliseconds."""
    message: str


class LogTimes:
    """When the lines of files were first seen. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[Path, tuple[list[int], list[int]]] = {}

    def observe(self, file: Path) -> tuple[int, Callable[[int], int]]:
        """The file's size, and the time of what is at an offset below it."""
        with self._lock:
            told = file.stat()
            sizes, times = self._seen.setdefault(file, ([], []))
            if sizes and told.st_size < sizes[-1]:
                sizes.clear()  # written anew
                times.clear()
            if told.st_size > (sizes[-1] if sizes else 0):
                last = int(told.st_mtime * 1000)
                times.append(max(last, times[-1]) if times else last)
                sizes.append(told.st_size)
            known_sizes, known_times = tuple(sizes), tuple(times)
        return told.st_size, lambda offset: known_times[bisect_right(known_sizes, offset)]


class LogReader:
    """Reads one file's events, forwards and backwards, as it is at one moment."""

    def __init__(self, times: LogTimes) -> None:
        self._times = times

    @contextmanager
    def open(self, file: Path, *, ended: bool) -> Iterator[OpenLog]:
        """Look at a file; a line that is still being written is not there yet."""
        size, time_of = self._times.observe(file)
        if size == 0:
            yield OpenLog(b"", 0, time_of)
            return
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), size, access=mmap.ACCESS_READ) as text,
        ):
            whole = size if ended else text.rfind(b"\n") + 1
            yield OpenLog(text, whole, time_of)


@dataclass(frozen=True, slots=True)
class OpenLog:
    """The text of a log up to ``size``."""

    text: bytes | mmap.mmap
    size: int
    time_of: Callable[[int], int]

    def after(self, offset: int) -> Iterator[LogEvent]:
        """The events that begin at or after `offset`, the earliest first."""
        while offset < self.size:
            end = self.text.find(b"\n", offset, min(offset + LONGEST_MESSAGE, self.size)) + 1
            end = end or min(offset + LONGEST_MESSAGE, self.size)
            yield self._event(offset, end)
            offset = end

    def before(self, offset: int) -> Iterator[LogEvent]:
        """The events that end at or before `offset`, the latest first."""
        offset = min(offset, self.size)
        while offset > 0:
            line = self.text.rfind(b"\n", 0, offset - 1) + 1
            pieces = (offset - line - 1) // LONGEST_MESSAGE
            begin = line + pieces * LONGEST_MESSAGE
            yield self._event(begin, offset)
            offset = begin

    def _event(self, begin: int, end: int) -> LogEvent:
        message = bytes(self.text[begin:end]).rstrip(b"\r\n").decode("utf-8", "replace")
        return LogEvent(begin, end, self.time_of(begin), message)
