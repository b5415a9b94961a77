"""The adapters that keep things: objects as plain files, state in SQLite."""
