"""What moto answers here, as ``allowed.toml`` has it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class RefusedMember:
    """A member that an answered operation is not to have, or with one value only."""

    operations: frozenset[str]
    member: str
    value: Any
    """The one that is taken; None where the member is not taken at all."""
    why: str


@dataclass(frozen=True, slots=True)
class AllowedService:
    """One of moto's services: which of its operations are answered, and why others are not."""

    name: str
    """botocore's, and moto's package."""
    signing: str
    target: str | None
    """The prefix of its X-Amz-Target; None where it speaks another protocol."""
    reads: frozenset[str]
    writes: frozenset[str]
    refused: Mapping[str, str]
    """The reasons, by operation."""
    unless: tuple[RefusedMember, ...]
    scope: str | None
    """The member of a request that names the thing which is written to."""
    ends: str | None
    """The operation that ends such a thing and all that was written to it."""
    several: frozenset[str]
    """Operations with that member that concern other things, too."""

    @property
    def answered(self) -> frozenset[str]:
        return self.reads | self.writes


@dataclass(frozen=True, slots=True)
class AllowList:
    services: tuple[AllowedService, ...]
    refused: Mapping[str, str]
    """The reasons why whole services are not answered, by signing name."""

    def find(self, signing: str, target: str) -> AllowedService | None:
        """The service that a request is for.

        `signing` is the name in the signature's scope, or the target's prefix where there is no
        signature; `target` the prefix of X-Amz-Target, empty where there is none.
        """
        for service in self.services:
            if target and service.target == target:
                return service
            if not target and service.signing == signing and service.name != "dynamodbstreams":
                return service
        return None


@cache
def allow_list() -> AllowList:
    text = files(__package__).joinpath("allowed.toml").read_text("utf-8")
    document = tomllib.loads(text)
    refused = document.pop("refused")
    return AllowList(tuple(_services(document)), MappingProxyType(refused))


def _services(document: Mapping[str, Any]) -> Iterator[AllowedService]:
    for name, table in document.items():
        yield AllowedService(
            name=name,
            signing=table.get("signing", name),
            target=table.get("target"),
            reads=_operations(table, "reads"),
            writes=_operations(table, "writes"),
            refused=MappingProxyType(
                {
                    operation: row["why"]
                    for row in table.get("refuse", ())
                    for operation in row["operations"]
                }
            ),
            unless=tuple(
                RefusedMember(
                    frozenset(row["operations"]), row["member"], row.get("value"), row["why"]
                )
                for row in table.get("unless", ())
            ),
            scope=table.get("scope"),
            ends=table.get("ends"),
            several=frozenset(table.get("several", ())),
        )


def _operations(table: Mapping[str, Any], kind: str) -> frozenset[str]:
    return frozenset(name for row in table["allow"] for name in row.get(kind, ()))
