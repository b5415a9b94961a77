"""How the ports' records become rows and rows become records again.

A record's fields are its table's columns, under the same names. Moments are kept as whole
microseconds since 1970 in UTC (they sort, and come back exactly as they were), mappings as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import UnionType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints

Record = TypeVar("Record")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

Convert = Callable[[Any], Any]


def to_microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND


def to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(dict(value), ensure_ascii=False, separators=(",", ":"))


class RecordTable(Generic[Record]):
    """The SQL and the conversions of one record type.

    ``foreign`` names the fields whose column holds something else (a digest instead of the text):
    ``read`` says what to select for such a field, the caller puts the column's value.
    """

    def __init__(
        self,
        record: type[Record],
        table: str,
        key: Sequence[str],
        *,
        read: Mapping[str, str] | None = None,
    ) -> None:
        self.table = table
        self._record = record
        self._names = tuple(field.name for field in fields(record))  # type: ignore[arg-type]  # a TypeVar cannot be bound to "any dataclass"
        self._conversions = _conversions(record, self._names)
        selected = ", ".join((read or {}).get(name, f"{table}.{name}") for name in self._names)
        self.select = f"SELECT {selected} FROM {table}"
        columns = ", ".join(self._names)
        places = ", ".join("?" for _ in self._names)
        changes = ", ".join(f"{name} = excluded.{name}" for name in self._names if name not in key)
        self.insert = f"INSERT INTO {table} ({columns}) VALUES ({places})"
        self.upsert = f"{self.insert} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"

    def row(self, record: Record, **foreign: Any) -> tuple[Any, ...]:
        """The column values of a record; ``foreign`` are ready for the database."""
        return tuple(
            foreign[name] if name in foreign else _encode(getattr(record, name), encode)
            for name, (encode, _) in zip(self._names, self._conversions, strict=True)
        )

    def record(self, row: Sequence[Any]) -> Record:
        values = {
            name: None if value is None else decode(value)
            for name, value, (_, decode) in zip(self._names, row, self._conversions, strict=True)
        }
        return self._record(**values)


def _encode(value: Any, encode: Convert) -> Any:
    return None if value is None else encode(value)


def _conversions(record: type[Any], names: Sequence[str]) -> tuple[tuple[Convert, Convert], ...]:
    hints = get_type_hints(record)
    return tuple(_conversion(hints[name]) for name in names)


def _conversion(hint: Any) -> tuple[Convert, Convert]:
    if isinstance(hint, UnionType):
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    kind = get_origin(hint) or hint
    if kind is datetime:
        return to_microseconds, from_microseconds
    if kind is dict or kind is Mapping:
        return to_json, json.loads
    if issubclass(kind, StrEnum):
        return str, kind
    if kind in (str, int, float, bool):
        return kind, kind
    raise TypeError(f"no column type for {hint!r}")
