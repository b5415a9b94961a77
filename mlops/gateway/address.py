"""Where a state folder's gateway is, and that there is only one.

``gateway.json`` says where it answers; it is written once the gateway does, whole or not at all,
and may be left behind by a killed one. ``gateway.lock`` is locked (flock) for a gateway's whole
life: the kernel lets go of it whatever ends the process.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Self

from mlops import __version__
from mlops.errors import DiskFull, EnvironmentLacks, GatewayUnavailable
from mlops.settings import Settings

ADDRESS_FILE = "gateway.json"
LOCK_FILE = "gateway.lock"
START_LOCK_FILE = "gateway.start.lock"
LOG_FILE = "gateway.log"


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """A gateway as its address file tells of it."""

    url: str
    pid: int
    version: str
    started_at: str
    runtime: str
    settings: str
    """The digest of the settings it runs with (``settings_digest``)."""

    def write(self, store: Path) -> None:
        temporary = store / f"{ADDRESS_FILE}.{os.getpid()}"
        with state_folder(store):
            temporary.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
            temporary.replace(store / ADDRESS_FILE)

    @classmethod
    def read(cls, store: Path) -> Self | None:
        """The address in a state folder; None where there is none, or none that can be read."""
        try:
            with state_folder(store):
                text = (store / ADDRESS_FILE).read_text(encoding="utf-8")
            return cls(**json.loads(text))
        except (FileNotFoundError, ValueError, TypeError):
            return None  # of another version, perhaps: the lock decides whether a gateway is there

    def remove(self, store: Path) -> None:
        """Delete the file if it is still this gateway's."""
        if GatewayAddress.read(store) == self:
            with suppress(FileNotFoundError):
                (store / ADDRESS_FILE).unlink()


class FileLock:
    """An exclusive lock on a file, held until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self, *, wait: bool) -> bool:
        """Take the lock; False where another process holds it and `wait` is not set.

        Raises:
            DiskFull, EnvironmentLacks: the state folder cannot be written.
        """
        with state_folder(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def is_in_place(self) -> bool:
        """Whether the locked file is still the one at its path: not moved, not deleted."""
        if self._file is None:
            return False
        try:
            here, held = self._path.stat(), os.fstat(self._file)
        except FileNotFoundError:
            return False
        return (here.st_dev, here.st_ino) == (held.st_dev, held.st_ino)

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        self.acquire(wait=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def state_folder(folder: Path) -> Iterator[None]:
    """Work in the state folder; what the file system refuses is told as ours.

    Raises:
        FileNotFoundError: as it is: often that is an answer.
        DiskFull, EnvironmentLacks: everything else.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise (DiskFull if full else EnvironmentLacks)(
            f"The state folder cannot be used: {error.strerror}",
            where=str(folder),
            next_step="free some space" if full else "give another folder with --store",
        ) from error


# What runs inside a gateway. The rest (the command, authoring, the lab's pipeline) may change
# while executions run without a word to it.
_GATEWAY_CODE = (
    *("app.py", "aws_model.py", "clock.py", "errors.py", "listening.py", "log_tail.py"),
    *("ports.py", "s3_uri.py", "settings.py", "surroundings.py"),
    *("definition", "engine", "execution", "functions", "gateway", "hosting"),
    *("runtimes", "services", "stores"),
)


@cache
def code_version() -> str:
    """The version of this code: the package's, and a digest of its files' sizes and times.

    In a checkout the code changes while the version stays; a gateway that has run since before
    must not serve today's commands.
    """
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for name in _GATEWAY_CODE:
        part = root / name
        for file in sorted(part.rglob("*.py")) if part.is_dir() else [part]:
            status = file.stat()
            place = file.relative_to(root)
            digest.update(f"{place}:{status.st_size}:{status.st_mtime_ns}\n".encode())
    return f"{__version__}+{digest.hexdigest()[:8]}"


def settings_digest(settings: Settings) -> str:
    """A digest of the settings that a gateway has to agree on with its commands."""
    agreed = (settings.region, settings.account_id, settings.execution_role_arn, settings.images)
    return hashlib.sha256(repr(agreed).encode()).hexdigest()[:12]


def read_log_tail(store: Path, lines: int = 15) -> str:
    """The last lines of the gateway's log."""
    try:
        text = (store / LOG_FILE).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def not_answering(store: Path, what: str) -> GatewayUnavailable:
    return GatewayUnavailable(what, where=str(store), next_step=f"its log is {store / LOG_FILE}")
