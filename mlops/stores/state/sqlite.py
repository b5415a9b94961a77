"""The gateway's state in one SQLite file.

One connection behind one lock: the gateway is the only process that writes here, its statements
take well under a millisecond, and a reader never sees half of a transaction. ``synchronous=NORMAL``
makes a commit survive kill -9; a power cut may take the last moments and leaves the rest sound.
``FULL`` would wait for the disk at each commit, and every reader behind it: with 200 clients, half
of them readers, for more than a second. The objects do not wait for the disk either.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops.errors import DiskFull, StoreError
from mlops.ports import (
    CacheEntry,
    Event,
    ExecutionRecord,
    JsonObject,
    ModelPackageGroupRecord,
    ModelPackageRecord,
    ModelRecord,
    PipelineRecord,
    ResourceRecord,
    StepRecord,
)
from mlops.stores.state.records import Record, RecordTable, to_microseconds
from mlops.stores.state.schema import migrate

_DEFINITION = "(SELECT text FROM definitions WHERE digest = {}.definition)"

_PIPELINES = RecordTable(
    PipelineRecord, "pipelines", ["name"], read={"definition": _DEFINITION.format("pipelines")}
)
_EXECUTIONS = RecordTable(
    ExecutionRecord, "executions", ["arn"], read={"definition": _DEFINITION.format("executions")}
)
_STEPS = RecordTable(StepRecord, "steps", ["execution_arn", "name"])
_CACHE = RecordTable(CacheEntry, "cache_entries", ["execution_arn", "step_name"])
_EVENTS = RecordTable(Event, "events", ["execution_arn", "sequence"])
_GROUPS = RecordTable(ModelPackageGroupRecord, "model_package_groups", ["name"])
_PACKAGES = RecordTable(ModelPackageRecord, "model_packages", ["arn"])
_MODELS = RecordTable(ModelRecord, "models", ["name"])
_RESOURCES = RecordTable(ResourceRecord, "resources", ["kind", "name"])


class SqliteStateStore:
    """``ports.StateStore`` in the file `path`, which is made, folders included, if missing.

    Raises:
        StoreError: the file is no database, is damaged, or is of a newer version.
        DiskFull: nothing can be written; what was being written is not stored.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open(path)

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection, str(path))
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Fold the write-ahead log into the file and let go of it. Idempotent."""
        with self._lock:
            self._connection.close()

    # --- the ways in ---

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error
        except OSError as error:
            raise StoreError(
                f"The state cannot be opened: {error.strerror}", where=str(self._path)
            ) from error

    def _translate(self, error: sqlite3.Error) -> StoreError | DiskFull:
        # A primary result code is the low byte of SQLite's extended one.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return DiskFull(
                "The disk is full: the state cannot be written",
                where=str(self._path),
                next_step="free some space ('mlops clean' removes old executions)",
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return StoreError(
                f"The state file is no sound database: {error}",
                where=str(self._path),
                next_step="move the state folder away and start with a new one",
            )
        return StoreError(f"The state store failed: {error}", where=str(self._path))

    def transaction(self) -> AbstractContextManager[None]:
        """Several calls as one: all or nothing, on disk at the end of the outermost one."""
        return self._transaction()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            name = f"level{self._depth}"
            outermost = self._depth == 0
            self._run("BEGIN IMMEDIATE" if outermost else f"SAVEPOINT {name}")
            self._depth += 1
            try:
                yield
                self._run("COMMIT" if outermost else f"RELEASE {name}")
            except BaseException:
                # SQLite has ended the transaction by itself where the disk was full.
                if self._connection.in_transaction:
                    self._run("ROLLBACK" if outermost else f"ROLLBACK TO {name}")
                raise
            finally:
                self._depth -= 1

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock, self._translated():
            return self._connection.execute(sql, values).fetchall()

    def _all(
        self, table: RecordTable[Record], rest: str = "", values: Sequence[Any] = ()
    ) -> Sequence[Record]:
        return [table.record(row) for row in self._run(f"{table.select} {rest}", values)]

    def _one(self, table: RecordTable[Record], rest: str, values: Sequence[Any]) -> Record | None:
        return next(iter(self._all(table, rest, values)), None)

    def _put_definition(self, text: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._run("INSERT OR IGNORE INTO definitions VALUES (?, ?)", (digest, text))
        return digest

    # --- pipelines ---

    def put_pipeline(self, pipeline: PipelineRecord) -> None:
        with self.transaction():
            digest = self._put_definition(pipeline.definition)
            self._run(_PIPELINES.upsert, _PIPELINES.row(pipeline, definition=digest))

    def get_pipeline(self, name: str) -> PipelineRecord | None:
        return self._one(_PIPELINES, "WHERE name = ?", (name,))

    def list_pipelines(self) -> Sequence[PipelineRecord]:
        return self._all(_PIPELINES, "ORDER BY created_at, rowid")

    def delete_pipeline(self, name: str) -> None:
        """Delete a pipeline together with its executions, as DeletePipeline does in AWS."""
        own = "execution_arn IN (SELECT arn FROM executions WHERE pipeline_name = ?)"
        with self.transaction():
            self._run(f"DELETE FROM steps WHERE {own}", (name,))
            self._run(f"DELETE FROM cache_entries WHERE {own}", (name,))
            self._run(f"DELETE FROM events WHERE {own}", (name,))
            self._run("DELETE FROM executions WHERE pipeline_name = ?", (name,))
            self._run("DELETE FROM pipelines WHERE name = ?", (name,))
            self._run(
                "DELETE FROM definitions WHERE digest NOT IN (SELECT definition FROM pipelines)"
                " AND digest NOT IN (SELECT definition FROM executions)"
            )

    # --- executions ---

    def put_execution(self, execution: ExecutionRecord) -> None:
        with self.transaction():
            digest = self._put_definition(execution.definition)
            self._run(_EXECUTIONS.upsert, _EXECUTIONS.row(execution, definition=digest))

    def get_execution(self, arn: str) -> ExecutionRecord | None:
        return self._one(_EXECUTIONS, "WHERE arn = ?", (arn,))

    def find_execution(self, execution_id: str) -> ExecutionRecord | None:
        return self._one(_EXECUTIONS, "WHERE id = ?", (execution_id,))

    def find_execution_by_token(
        self, pipeline_name: str, client_request_token: str
    ) -> ExecutionRecord | None:
        return self._one(
            _EXECUTIONS,
            "WHERE pipeline_name = ? AND client_request_token = ?",
            (pipeline_name, client_request_token),
        )

    def list_executions(
        self,
        pipeline_name: str | None = None,
        *,
        newest_first: bool = True,
        limit: int | None = None,
        offset: int = 0,
        started_after: datetime | None = None,
        started_before: datetime | None = None,
    ) -> Sequence[ExecutionRecord]:
        wanted: dict[str, Any] = {}
        if pipeline_name is not None:
            wanted["pipeline_name = ?"] = pipeline_name
        if started_after is not None:
            wanted["started_at > ?"] = to_microseconds(started_after)
        if started_before is not None:
            wanted["started_at < ?"] = to_microseconds(started_before)
        where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
        order = "DESC" if newest_first else "ASC"
        return self._all(
            _EXECUTIONS,
            f"{where} ORDER BY started_at {order}, rowid {order} LIMIT ? OFFSET ?",
            (*wanted.values(), -1 if limit is None else limit, offset),
        )

    def unfinished_executions(self) -> Sequence[ExecutionRecord]:
        return self._all(
            _EXECUTIONS, "WHERE status IN ('Executing', 'Stopping') ORDER BY started_at, rowid"
        )

    # --- steps and events ---

    def put_step(self, step: StepRecord) -> None:
        with self.transaction():
            self._run(_STEPS.upsert, _STEPS.row(step))

    def get_step(self, execution_arn: str, name: str) -> StepRecord | None:
        return self._one(_STEPS, "WHERE execution_arn = ? AND name = ?", (execution_arn, name))

    def list_steps(self, execution_arn: str) -> Sequence[StepRecord]:
        return self._all(_STEPS, "WHERE execution_arn = ? ORDER BY position", (execution_arn,))

    def find_step_by_job(self, step_type: str, job_name: str) -> StepRecord | None:
        return self._one(_STEPS, "WHERE job_name = ? AND type = ?", (job_name, step_type))

    def list_job_steps(self, step_type: str) -> Sequence[StepRecord]:
        return self._all(
            _STEPS,
            "WHERE job_name IS NOT NULL AND type = ? ORDER BY started_at DESC, position DESC",
            (step_type,),
        )

    def put_cache_entry(self, entry: CacheEntry) -> None:
        with self.transaction():
            self._run(_CACHE.upsert, _CACHE.row(entry))

    def find_cache_entry(self, key: str, *, made_after: datetime | None) -> CacheEntry | None:
        after = -(2**63) if made_after is None else to_microseconds(made_after)
        newest = "WHERE key = ? AND made_at > ? ORDER BY made_at DESC LIMIT 1"
        return self._one(_CACHE, newest, (key, after))

    def append_event(self, execution_arn: str, at: datetime, kind: str, data: JsonObject) -> Event:
        with self.transaction():
            ((last,),) = self._run(
                "SELECT COALESCE(MAX(sequence), 0) FROM events WHERE execution_arn = ?",
                (execution_arn,),
            )
            event = Event(execution_arn, last + 1, at, kind, data)
            self._run(_EVENTS.insert, _EVENTS.row(event))
        return event

    def events_after(self, execution_arn: str, sequence: int) -> Sequence[Event]:
        return self._all(
            _EVENTS,
            "WHERE execution_arn = ? AND sequence > ? ORDER BY sequence",
            (execution_arn, sequence),
        )

    # --- model package groups and packages ---

    def put_model_package_group(self, group: ModelPackageGroupRecord) -> None:
        with self.transaction():
            self._run(_GROUPS.upsert, _GROUPS.row(group))

    def get_model_package_group(self, name: str) -> ModelPackageGroupRecord | None:
        return self._one(_GROUPS, "WHERE name = ?", (name,))

    def list_model_package_groups(self) -> Sequence[ModelPackageGroupRecord]:
        return self._all(_GROUPS, "ORDER BY created_at, rowid")

    def delete_model_package_group(self, name: str) -> None:
        with self.transaction():
            self._run("DELETE FROM model_package_groups WHERE name = ?", (name,))

    def add_model_package(self, package: ModelPackageRecord) -> ModelPackageRecord:
        with self.transaction():
            given = self._run(
                "UPDATE model_package_groups SET last_version = last_version + 1"
                " WHERE name = ? RETURNING last_version",
                (package.group_name,),
            )
            if not given:
                raise StoreError(
                    f"There is no model package group {package.group_name}",
                    where=str(self._path),
                    next_step="create the group first",
                )
            version = given[0][0]
            arn = f"{package.arn.rpartition('/')[0]}/{version}"
            stored = replace(package, arn=arn, version=version)
            self._run(_PACKAGES.insert, _PACKAGES.row(stored))
        return stored

    def update_model_package(self, package: ModelPackageRecord) -> None:
        with self.transaction():
            self._run(_PACKAGES.upsert, _PACKAGES.row(package))

    def get_model_package(self, arn: str) -> ModelPackageRecord | None:
        return self._one(_PACKAGES, "WHERE arn = ?", (arn,))

    def list_model_packages(self, group_name: str | None = None) -> Sequence[ModelPackageRecord]:
        if group_name is None:
            return self._all(_PACKAGES, "ORDER BY created_at, rowid")
        return self._all(_PACKAGES, "WHERE group_name = ? ORDER BY version", (group_name,))

    def delete_model_package(self, arn: str) -> None:
        with self.transaction():
            self._run("DELETE FROM model_packages WHERE arn = ?", (arn,))

    # --- models ---

    def put_model(self, model: ModelRecord) -> None:
        with self.transaction():
            self._run(_MODELS.upsert, _MODELS.row(model))

    def get_model(self, name: str) -> ModelRecord | None:
        return self._one(_MODELS, "WHERE name = ?", (name,))

    def list_models(self) -> Sequence[ModelRecord]:
        return self._all(_MODELS, "ORDER BY created_at, rowid")

    def delete_model(self, name: str) -> None:
        with self.transaction():
            self._run("DELETE FROM models WHERE name = ?", (name,))

    # --- other resources ---

    def put_resource(self, resource: ResourceRecord) -> None:
        with self.transaction():
            self._run(_RESOURCES.upsert, _RESOURCES.row(resource))

    def get_resource(self, kind: str, name: str) -> ResourceRecord | None:
        return self._one(_RESOURCES, "WHERE kind = ? AND name = ?", (kind, name))

    def list_resources(self, kind: str) -> Sequence[ResourceRecord]:
        return self._all(_RESOURCES, "WHERE kind = ? ORDER BY created_at, rowid", (kind,))

    def delete_resource(self, kind: str, name: str) -> None:
        with self.transaction():
            self._run("DELETE FROM resources WHERE kind = ? AND name = ?", (kind, name))

    def clear(self) -> None:
        with self.transaction():
            tables = self._run("SELECT name FROM sqlite_schema WHERE type = 'table'")
            # What others refer to goes last.
            for (name,) in sorted(tables, key=lambda row: row[0] == "definitions"):
                self._run(f"DELETE FROM {name}")

    # --- tags ---

    def get_tags(self, arn: str) -> Mapping[str, str]:
        return dict(self._run("SELECT key, value FROM tags WHERE arn = ? ORDER BY key", (arn,)))

    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        with self.transaction():
            for key, value in tags.items():
                self._run(
                    "INSERT INTO tags VALUES (?, ?, ?)"
                    " ON CONFLICT (arn, key) DO UPDATE SET value = excluded.value",
                    (arn, key, value),
                )

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        with self.transaction():
            for key in keys:
                self._run("DELETE FROM tags WHERE arn = ? AND key = ?", (arn, key))
