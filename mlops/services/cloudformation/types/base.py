"""What a resource type is: what it takes, what it answers, and how it is made, changed, deleted.

A type acts by AWS operations alone, through the gateway's own door: what a stack makes is what the
API makes. Every method may be called again after the gateway was killed in the middle of it.

Which properties replace, the value of ``Ref`` and the attributes of ``Fn::GetAtt``: the type's
page in the CloudFormation template reference ("Update requires", "Return values") and its schema
in the CloudFormation registry (``createOnlyProperties``, ``readOnlyProperties``).
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.schema import Struct

_RANDOM = string.ascii_uppercase + string.digits
_MISSING_CODES = {
    "404",
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchBucket",
    "NoSuchBucketPolicy",
    "NoSuchEntity",
    "ParameterNotFound",
    "QueueDoesNotExist",
    "RepositoryNotFoundException",
    "ResourceNotFound",
    "ResourceNotFoundException",
}
_MISSING = re.compile(r"could not find|does not exist", re.IGNORECASE)


class Aws(Protocol):
    """The AWS operations of the gateway that the stacks are in."""

    @property
    def region(self) -> str: ...

    def call(self, service: str, operation: str, **request: Any) -> JsonObject:
        """The answer of one operation.

        Raises:
            ServiceError: as the service answers.
        """
        ...


class NotStable(Exception):
    """A resource has come to rest in a state that is not the one asked for."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a resource is called and what it tells once it is there."""

    physical_id: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class ResourceType:
    """One type. `name` below is what the service's operations call the resource."""

    type: ClassVar[str]
    name_property: ClassVar[str | None] = None
    """The property with which a template gives the resource a name of its own."""
    replacing: ClassVar[Collection[str]] = ()
    """The properties whose change makes a new resource."""
    attributes: ClassVar[Sequence[str]] = ()
    """What Fn::GetAtt takes."""
    tagged: ClassVar[bool] = True
    """Whether it has the property Tags, to which the stack's own tags go, too."""
    not_here: ClassVar[Collection[str]] = ()
    """Properties that CloudFormation has and that nothing here could keep."""
    is_iam: ClassVar[bool] = False
    longest_name: ClassVar[int] = 63
    lower_case: ClassVar[bool] = False

    @cached_property
    def schema(self) -> Struct:
        return self.properties()

    def properties(self) -> Struct:
        """The schema of its properties; asked for once."""
        raise NotImplementedError

    def problems(self, properties: JsonObject) -> Iterator[str]:
        """What is wrong with its properties, in the service's form."""
        for name in properties:
            if name in self.not_here:
                yield f"#: the property [{name}] is refused: nothing in the local gateway keeps it"
        known = {name: v for name, v in properties.items() if name not in self.not_here}
        yield from self.schema.problems(known, "#")

    def new_name(self, stack: str, logical_id: str) -> str:
        """A name for a resource that the template gives none: stack-logicalid-random."""
        random = "".join(secrets.choice(_RANDOM) for _ in range(12))
        head = f"{stack}-{logical_id}"[: self.longest_name - len(random) - 1].rstrip("-")
        name = f"{head}-{random}"
        return name.lower() if self.lower_case else name

    def tags(self, properties: JsonObject, tags: Mapping[str, str]) -> JsonObject:
        """The properties with the stack's tags; the resource's own count more."""
        if not self.tagged or not tags:
            return properties
        own = properties.get("Tags") or []
        if not isinstance(own, list):
            return properties  # not known yet, or wrong, which the schema says
        keys = {tag.get("Key") for tag in own if isinstance(tag, dict)}
        inherited = [{"Key": k, "Value": v} for k, v in tags.items() if k not in keys]
        return {**properties, "Tags": [*own, *inherited]}

    # --- acting ---

    def exists(self, aws: Aws, name: str) -> bool:
        raise NotImplementedError

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        """The one call that makes it; returns the name, which the service may have given.

        `token` is the same whenever this creation is tried again.
        """
        raise NotImplementedError

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        """What has to follow `create`; does no harm when it is done again."""

    def busy(self, aws: Aws, name: str) -> bool:
        """Whether it is still on its way to somewhere."""
        return False

    def verify(self, aws: Aws, name: str, properties: JsonObject) -> None:
        """Raises NotStable where it has come to rest in another state than a good one."""

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        raise NotImplementedError

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        """Change it in place. A change that was made before is made again."""

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        """Delete it; a service's error that it is missing is the caller's to take as success."""
        raise NotImplementedError


class ApiType(ResourceType):
    """A type that one operation creates, one describes and one deletes, under one name."""

    service: ClassVar[str]
    operations: ClassVar[tuple[str, str, str]]
    """Create, describe, delete."""
    member: ClassVar[str]
    """Of the three requests: what holds the name."""
    not_sent: ClassVar[Collection[str]] = ()
    """Properties that are no members of the create request."""
    ref: ClassVar[str | None] = None
    """The member of the description that ``Ref`` comes to; None is the name."""
    described: ClassVar[Mapping[str, str]] = {}
    """Attributes to members of the description."""

    def describe(self, aws: Aws, name: str) -> JsonObject:
        return aws.call(self.service, self.operations[1], **{self.member: name})

    def exists(self, aws: Aws, name: str) -> bool:
        return found(lambda: self.describe(aws, name))

    def request(self, properties: JsonObject) -> JsonObject:
        """The properties as members of the create request."""
        sent = {name: v for name, v in properties.items() if name not in self.not_sent}
        made: JsonObject = self.schema.request(sent)
        return made

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        aws.call(
            self.service, self.operations[0], **{**self.request(properties), self.member: name}
        )
        return name

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        if self.ref is None and not self.described:
            return Made(name)
        description = self.describe(aws, name)
        attributes = {
            name: description[member]
            for name, member in self.described.items()
            if member in description
        }
        return Made(name if self.ref is None else description[self.ref], attributes)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        aws.call(self.service, self.operations[2], **{self.member: name})


def found(look: Any) -> bool:
    """Whether a call finds what it asks for.

    Raises:
        ServiceError: the service answers something else than that it is missing.
    """
    try:
        look()
    except ServiceError as error:
        if is_missing(error):
            return False
        raise
    return True


def is_missing(error: ServiceError) -> bool:
    """Whether a service says that a thing is not there; SageMaker says so in the message alone."""
    if error.code in _MISSING_CODES or error.status == 404:
        return True
    return error.code == "ValidationException" and bool(_MISSING.search(error.what))


def tag_changes(old: JsonObject, new: JsonObject) -> tuple[list[JsonObject], list[str]]:
    """The tags to set and the keys to remove between two states of properties."""
    before, after = (
        {tag["Key"]: tag["Value"] for tag in each.get("Tags") or []} for each in (old, new)
    )
    changed = [{"Key": k, "Value": v} for k, v in after.items() if before.get(k) != v]
    return changed, [key for key in before if key not in after]


def as_map(tags: Sequence[JsonObject]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def changed(name: str, old: JsonObject, new: JsonObject) -> bool:
    return bool(old.get(name) != new.get(name))
