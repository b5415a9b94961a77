"""One log of a job that has several: each line with the host that wrote it, as it comes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.1
_BYTES = 1 << 20


@contextmanager
def merged_logs(logs: Mapping[str, Path], target: Path) -> Iterator[None]:
    """While inside, append to `target` what is written to `logs` (by host); all of it at the end.

    Lines of one host stay in order; between hosts the order is that of looking, at most
    LOOK_SECONDS apart.
    """
    ended = threading.Event()
    merger = threading.Thread(target=_merge, args=(logs, target, ended), daemon=True)
    merger.start()
    try:
        yield
    finally:
        ended.set()
        merger.join()


def _merge(logs: Mapping[str, Path], target: Path, ended: threading.Event) -> None:
    tails = [_Tail(f"[{host}] ".encode(), log) for host, log in logs.items()]
    with target.open("ab", buffering=0) as merged:
        while True:
            last = ended.wait(LOOK_SECONDS)
            for tail in tails:
                while lines := tail.read(whole=not last):
                    merged.write(lines)
            if last:
                return


class _Tail:
    def __init__(self, prefix: bytes, log: Path) -> None:
        self._prefix = prefix
        self._log = log
        self._at = 0
        self._part = b""

    def read(self, *, whole: bool) -> bytes:
        """What has been written since, each line with its prefix; `whole`: only whole lines."""
        text = self._part + self._new()
        end = text.rfind(b"\n") + 1 if whole else len(text)
        text, self._part = text[:end], text[end:]
        return b"".join(
            self._prefix + (line if line.endswith(b"\n") else line + b"\n")
            for line in text.splitlines(keepends=True)
        )

    def _new(self) -> bytes:
        try:
            with self._log.open("rb") as file:
                file.seek(self._at)
                new = file.read(_BYTES)
        except FileNotFoundError:
            return b""
        self._at += len(new)
        return new
