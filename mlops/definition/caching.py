"""A step's ``CacheConfig``."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.definition.fields import Fields


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Whether a step may reuse an earlier run, and how old that may be (a duration's text)."""

    enabled: bool
    expire_after: str | None = None


def read_cache_config(fields: Fields) -> CacheConfig:
    fields.only(("Enabled", "ExpireAfter"), "CacheConfig")
    fields.require("Enabled", "CacheConfig")
    return CacheConfig(bool(fields.boolean("Enabled")), fields.string("ExpireAfter"))
