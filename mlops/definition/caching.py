"""A step's ``CacheConfig``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from mlops.definition.duration import parse_duration
from mlops.definition.fields import Fields


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """Whether a step may reuse an earlier run, and how old that may be (a duration's text)."""

    enabled: bool
    expire_after: str | None = None

    @property
    def longest_age(self) -> timedelta | None:
        """How old the earlier run may be; None where any age will do."""
        return None if self.expire_after is None else parse_duration(self.expire_after)


def read_cache_config(fields: Fields) -> CacheConfig:
    fields.only(("Enabled", "ExpireAfter"), "CacheConfig")
    fields.require("Enabled", "CacheConfig")
    expire_after = fields.string("ExpireAfter")
    if expire_after is not None:
        try:
            parse_duration(expire_after)
        except ValueError as error:
            fields.refuse("ExpireAfter", str(error))
    return CacheConfig(bool(fields.boolean("Enabled")), expire_after)
