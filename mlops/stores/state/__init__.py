"""The state of the gateway in SQLite: pipelines, executions, steps, events, models, tags."""

from mlops.stores.state.sqlite import SqliteStateStore

__all__ = ["SqliteStateStore"]
