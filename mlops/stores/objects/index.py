"""What the files do not say: metadata, versions, uploads and bucket settings, in SQLite.

The file system commits, rows alone mean nothing. A row describes the file of its key that has the
row's identity, modification time in nanoseconds and size; the store gives every file that it
writes a time of its own. A write first commits the row, then renames the file into its place:
at the rename content and metadata become visible together, and a process killed before it leaves
a row that describes no file and is never seen. Why not ...

- extended attributes: they would travel with the file, but tmpfs and network mounts lack them;
- a file beside each object: listing 1,000 keys would open 1,000 files, versions and tags would
  need the same care again, and a bucket's folder would not be exactly its objects;
- the inode in the identity: a store that was copied (``cp -a``) would lose its metadata.

A file without a row was put there by a person (or the index is lost): it is an object with
default metadata, whose ETag is computed when first needed.

WAL without a sync for each commit: a commit is safe from kill -9 at once, and from a power cut
after the next checkpoint, as is the content (the store does not call fsync either).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from mlops.errors import DiskFull, StoreError
from mlops.stores.objects.model import Attributes, Identity, StoredObject

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT, key BLOB, mtime_ns INTEGER, size INTEGER, version_id TEXT, is_marker INTEGER,
    etag TEXT, attributes TEXT, PRIMARY KEY (bucket, key, mtime_ns, size)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_settings (
    bucket TEXT, name TEXT, value TEXT, PRIMARY KEY (bucket, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT, key BLOB, initiated_ns INTEGER, attributes TEXT,
    checksum_algorithm TEXT, checksum_type TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    upload_id TEXT, number INTEGER, file TEXT, size INTEGER, etag TEXT, modified_ns INTEGER,
    checksums TEXT, PRIMARY KEY (upload_id, number)) WITHOUT ROWID;
"""
_COLUMNS = "bucket, key, mtime_ns, size, version_id, is_marker, etag, attributes"
_CHUNK = 500  # keys in one question, below SQLite's oldest limit of 999 variables
_BUSY_SECONDS = 30.0

Row: TypeAlias = tuple[Any, ...]  # the schema above says what is in it


class Index:
    """One SQLite file. Safe to use from several threads and processes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mutex = threading.RLock()
        self._depth = 0
        with self._translating():
            self._connection = sqlite3.connect(
                file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._mutex:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the calls inside one commit. May be nested."""
        with self._mutex:
            if self._depth:
                yield
                return
            self._execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite ends some failed ones by itself
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[Row]:
        with self._mutex:
            return self._execute(statement, values).fetchall()

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Run a statement that changes something; return how many rows it changed."""
        with self._mutex:
            return self._execute(statement, values).rowcount

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        with self._translating():
            return self._connection.execute(statement, tuple(values))

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise DiskFull(
                    "The disk of the object store is full",
                    where=str(self._file),
                    next_step="make room and try again",
                ) from error
            raise StoreError(
                f"The object store's index does not work: {error}",
                where=str(self._file),
                next_step="free the file, or move it away: contents stay, their metadata is lost",
            ) from error

    # --- Objects ---

    def put(self, stored: StoredObject) -> None:
        self.change(
            f"INSERT OR REPLACE INTO objects ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)",
            (
                stored.bucket,
                stored.key.encode(),
                stored.identity.mtime_ns,
                stored.identity.size,
                stored.version_id,
                int(stored.is_marker),
                stored.etag,
                stored.attributes.to_json(),
            ),
        )

    def get(self, bucket: str, key: str, identity: Identity) -> StoredObject | None:
        rows = self.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket=? AND key=? AND mtime_ns=? AND size=?",
            (bucket, key.encode(), identity.mtime_ns, identity.size),
        )
        return _stored(rows[0]) if rows else None

    def get_many(
        self, bucket: str, keys: Sequence[str]
    ) -> dict[tuple[str, Identity], StoredObject]:
        """Every row of these keys, by key and identity."""
        found = {}
        for at in range(0, len(keys), _CHUNK):
            chunk = [key.encode() for key in keys[at : at + _CHUNK]]
            marks = ",".join("?" * len(chunk))
            for row in self.rows(
                f"SELECT {_COLUMNS} FROM objects WHERE bucket=? AND key IN ({marks})",
                (bucket, *chunk),
            ):
                stored = _stored(row)
                found[stored.key, stored.identity] = stored
        return found

    def versions(self, bucket: str, key: str) -> list[StoredObject]:
        """Every row of a key, newest first."""
        rows = self.rows(
            f"SELECT {_COLUMNS} FROM objects WHERE bucket=? AND key=? ORDER BY mtime_ns DESC",
            (bucket, key.encode()),
        )
        return [_stored(row) for row in rows]

    def keys_after(self, bucket: str, prefix: str, after: str, limit: int) -> list[str]:
        """Up to `limit` keys that have rows, start with `prefix` and are greater than `after`."""
        first = prefix.encode()
        rows = self.rows(
            "SELECT DISTINCT key FROM objects WHERE bucket=? AND key>=? AND key>?"
            " AND substr(key,1,?)=? ORDER BY key LIMIT ?",
            (bucket, first, after.encode(), len(first), first, limit),
        )
        return [row[0].decode() for row in rows]

    def delete(self, bucket: str, key: str, identity: Identity) -> None:
        self.change(
            "DELETE FROM objects WHERE bucket=? AND key=? AND mtime_ns=? AND size=?",
            (bucket, key.encode(), identity.mtime_ns, identity.size),
        )

    def delete_others(self, bucket: str, key: str, version_id: str, kept: Identity | None) -> None:
        """Forget what `version_id` of a key was, except as `kept`."""
        mtime_ns, size = (kept.mtime_ns, kept.size) if kept else (-1, -1)
        self.change(
            "DELETE FROM objects WHERE bucket=? AND key=? AND version_id=?"
            " AND NOT (mtime_ns=? AND size=?)",
            (bucket, key.encode(), version_id, mtime_ns, size),
        )

    # --- Bucket settings ---

    def get_setting(self, bucket: str, name: str) -> str | None:
        rows = self.rows(
            "SELECT value FROM bucket_settings WHERE bucket=? AND name=?", (bucket, name)
        )
        return str(rows[0][0]) if rows else None

    def put_setting(self, bucket: str, name: str, value: str) -> None:
        self.change("INSERT OR REPLACE INTO bucket_settings VALUES (?,?,?)", (bucket, name, value))

    def delete_setting(self, bucket: str, name: str) -> None:
        self.change("DELETE FROM bucket_settings WHERE bucket=? AND name=?", (bucket, name))

    def forget_bucket(self, bucket: str) -> None:
        with self.transaction():
            self.change("DELETE FROM objects WHERE bucket=?", (bucket,))
            self.change("DELETE FROM bucket_settings WHERE bucket=?", (bucket,))


def _stored(row: Row) -> StoredObject:
    bucket, key, mtime_ns, size, version_id, is_marker, etag, attributes = row
    return StoredObject(
        bucket=bucket,
        key=key.decode(),
        identity=Identity(mtime_ns, size),
        etag=etag,
        attributes=Attributes.from_json(attributes),
        version_id=version_id,
        is_marker=bool(is_marker),
    )
