"""The database's tables, version by version.

``PRAGMA user_version`` says which migrations a file has had. A new version of this project appends
a migration and never edits an old one; a file with more migrations than this code knows is
refused, since an older program would misread it.
"""

from __future__ import annotations

import sqlite3

from mlops.errors import StoreError

# Definitions are up to 1 MiB and most executions of a pipeline share one: each text is kept once,
# under its SHA-256.
_FIRST = """
CREATE TABLE definitions (
    digest TEXT PRIMARY KEY,
    text TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE pipelines (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    definition TEXT NOT NULL REFERENCES definitions (digest),
    role_arn TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL,
    display_name TEXT,
    description TEXT,
    max_parallel_steps INTEGER,
    client_request_token TEXT
);

CREATE TABLE executions (
    arn TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    pipeline_name TEXT NOT NULL,
    pipeline_arn TEXT NOT NULL,
    definition TEXT NOT NULL REFERENCES definitions (digest),
    parameters TEXT NOT NULL,
    status TEXT NOT NULL,
    display_name TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL,
    description TEXT,
    failure_reason TEXT,
    max_parallel_steps INTEGER,
    client_request_token TEXT
);
CREATE INDEX executions_by_id ON executions (id);
CREATE INDEX executions_by_start ON executions (started_at);
CREATE INDEX executions_by_pipeline ON executions (pipeline_name, started_at);
CREATE INDEX executions_by_token ON executions (pipeline_name, client_request_token)
    WHERE client_request_token IS NOT NULL;
CREATE INDEX executions_unfinished ON executions (started_at)
    WHERE status IN ('Executing', 'Stopping');
CREATE INDEX executions_by_definition ON executions (definition);

CREATE TABLE steps (
    execution_arn TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ended_at INTEGER,
    failure_reason TEXT,
    metadata TEXT NOT NULL,
    outputs TEXT NOT NULL,
    job_name TEXT,
    attempts INTEGER NOT NULL,
    cache_hit INTEGER NOT NULL,
    overhead_seconds REAL NOT NULL,
    log TEXT,
    PRIMARY KEY (execution_arn, name)
);
CREATE INDEX steps_by_job ON steps (job_name) WHERE job_name IS NOT NULL;

CREATE TABLE events (
    execution_arn TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (execution_arn, sequence)
) WITHOUT ROWID;

-- last_version outlives the versions: a number is never given twice within a group.
CREATE TABLE model_package_groups (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    description TEXT,
    last_version INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE model_packages (
    arn TEXT PRIMARY KEY,
    group_name TEXT NOT NULL,
    version INTEGER NOT NULL,
    approval_status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL,
    request TEXT NOT NULL,
    approval_description TEXT,
    UNIQUE (group_name, version)
);

CREATE TABLE models (
    name TEXT PRIMARY KEY,
    arn TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    request TEXT NOT NULL
);

CREATE TABLE tags (
    arn TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (arn, key)
) WITHOUT ROWID;
"""

# Endpoints, endpoint configurations, functions: read whole and seldom, so without columns of
# their own.
_RESOURCES = """
CREATE TABLE resources (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    arn TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_modified_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (kind, name)
);
"""

_STEP_CACHE = """
ALTER TABLE executions ADD COLUMN cache_mode TEXT;
ALTER TABLE steps ADD COLUMN cached_from TEXT;

CREATE TABLE cache_entries (
    key TEXT NOT NULL,
    execution_arn TEXT NOT NULL,
    step_name TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    objects TEXT NOT NULL,
    PRIMARY KEY (execution_arn, step_name)
) WITHOUT ROWID;
CREATE INDEX cache_entries_by_key ON cache_entries (key, made_at);
"""

_TAKEN_UP = """
ALTER TABLE executions ADD COLUMN retry_token TEXT;
ALTER TABLE executions ADD COLUMN selective TEXT;
ALTER TABLE steps ADD COLUMN reused_from TEXT;
"""

MIGRATIONS = (_FIRST, _RESOURCES, _STEP_CACHE, _TAKEN_UP)


def migrate(connection: sqlite3.Connection, place: str) -> None:
    """Bring the database to the newest version, each migration whole or not at all.

    Raises:
        StoreError: the file has been written by a newer version of this project.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise StoreError(
            f"The state is of version {version}, this mlops knows versions up to "
            f"{len(MIGRATIONS)}: a newer mlops wrote it",
            where=place,
            next_step="update mlops, or give another state folder with --store",
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
