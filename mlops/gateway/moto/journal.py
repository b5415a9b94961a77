"""The requests that moto has carried out and that changed something, in one SQLite file.

moto keeps all in memory. What it has acknowledged stands here, in order, with the moment and the
seed that it was carried out with, so that doing it again comes to the same. `append` has returned
only when the request is on disk (``synchronous=FULL``, as the state store).

A journal would grow for ever. What was written to a thing that has been ended (a DynamoDB table)
goes with it; beyond `Limits` writes are refused until somebody makes room.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops.errors import DiskFull, ServiceError, StoreError

FILE = "moto.db"
SEVERAL = "*"
"""The scope of a request that writes to several things, or to something else."""

_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS request (
    id INTEGER PRIMARY KEY,
    service TEXT NOT NULL,
    operation TEXT NOT NULL,
    scope TEXT NOT NULL,
    at INTEGER NOT NULL,  -- microseconds since 1970
    seed TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    query TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS request_of ON request (service, scope);
"""


@dataclass(frozen=True, slots=True)
class Wire:
    """A request as it travels, without what says who sent it: a part of what is written."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that has been carried out, and what it was carried out with."""

    service: str
    operation: str
    scope: str
    at: datetime
    seed: int
    wire: Wire


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: doing one again takes about a millisecond, and the request that waits for
    all of them comes from a client that waits for a minute."""

    requests: int = 50_000
    megabytes: int = 512


class Journal:
    """The journal of one state folder. `has` may be asked from any thread, the rest is for one."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self._path = folder / FILE
        self._limits = limits or Limits()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    def has(self, service: str, scope: str | None = None) -> bool:
        """Whether anything that was written to `service`, or to that thing of it, is kept."""
        if self._connection is None and not self._path.exists():
            return False
        found = self._opened().execute(
            "SELECT 1 FROM request WHERE service = ? AND (? IS NULL OR scope = ?) LIMIT 1",
            (service, scope, scope),
        )
        return found.fetchone() is not None

    def entries(self) -> Iterator[Entry]:
        """All of them, in the order in which they were carried out."""
        if self._connection is None and not self._path.exists():
            return
        columns = "service, operation, scope, at, seed, method, path, query, headers, body"
        for row in self._opened().execute(f"SELECT {columns} FROM request ORDER BY id"):
            service, operation, scope, at, seed, method, path, query, headers, body = row
            pairs = tuple((name, value) for name, value in json.loads(headers))
            wire = Wire(method, path, query, pairs, body)
            moment = _EPOCH + timedelta(microseconds=at)
            yield Entry(service, operation, scope, moment, int(seed, 16), wire)

    def check_room(self) -> None:
        """
        Raises:
            ServiceError: ``LimitExceededException``: the journal is as long as it may get.
        """
        connection = self._opened()
        # max(id) is no count once some are gone, and is always at least it: no look at each row.
        (last,) = connection.execute("SELECT max(id) FROM request").fetchone()
        count = last or 0
        if count >= self._limits.requests:
            (count,) = connection.execute("SELECT count(*) FROM request").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        megabytes = (pages - free) * page_size // 1_000_000
        if count < self._limits.requests and megabytes < self._limits.megabytes:
            return
        raise ServiceError(
            "LimitExceededException",
            f"The local gateway keeps {count} requests ({megabytes} MB) to the services that moto "
            f"answers and takes no more: they are all done again after each start. Delete DynamoDB "
            f"tables and Kinesis streams that are full, or start anew: stop the gateway and delete "
            f"{self._path}",
        )

    def append(self, entry: Entry) -> None:
        """Keep `entry`; it is on disk when this returns.

        Raises:
            DiskFull, StoreError: it is not kept.
        """
        values = (
            entry.service,
            entry.operation,
            entry.scope,
            (entry.at - _EPOCH) // timedelta(microseconds=1),
            f"{entry.seed:x}",
            entry.wire.method,
            entry.wire.path,
            entry.wire.query,
            json.dumps(entry.wire.headers),
            entry.wire.body,
        )
        self._write(
            "INSERT INTO request (service, operation, scope, at, seed, method, path, query, "
            "headers, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def forget_thing(self, service: str, scope: str) -> bool:
        """Drop what was written to a thing that has been ended; False where that cannot be said.

        It cannot where a request wrote to several things: without this one it would fail.
        """
        several = self._opened().execute(
            "SELECT 1 FROM request WHERE service = ? AND scope = ?", (service, SEVERAL)
        )
        if scope == SEVERAL or several.fetchone() is not None:
            return False
        self._write("DELETE FROM request WHERE service = ? AND scope = ?", (service, scope))
        return True

    def clear(self) -> None:
        """Forget all, for ever."""
        if self._connection is not None or self._path.exists():
            self._write("DELETE FROM request", ())

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        try:
            with self._opened() as connection:
                connection.execute(statement, values)
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise DiskFull("Nothing more can be written", where=str(self._path)) from error
            raise StoreError(f"The write failed: {error}", where=str(self._path)) from error

    def _opened(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise StoreError("The gateway is leaving", where=str(self._path))
            if self._connection is None:
                self._connection = _open(self._path)
            return self._connection


def _open(path: Path) -> sqlite3.Connection:
    try:
        path.touch(0o600)  # it has secrets in it; SQLite gives its other files the same rights
        connection = sqlite3.connect(path, check_same_thread=False)
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise sqlite3.DatabaseError("a newer version of this project has written it")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
        except sqlite3.Error:
            connection.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise StoreError(
            f"What was written to the services that moto answers cannot be read: {error}",
            where=str(path),
            next_step="put the file back from a copy, or delete it with all that it keeps",
        ) from error
    return connection
