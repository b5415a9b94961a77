"""What is kept of stacks: the stacks, their resources, their events and their change sets.

One record of the state store for each, so that a change of one resource writes that resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from mlops.ports import Clock, JsonObject, ResourceRecord, StateStore
from mlops.services.cloudformation.kinds import CHANGE_SET, EVENT, RESOURCE, STACK

KEPT = timedelta(days=90)
"""So long a deleted stack is told of (API reference, ListStacks)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a stack is made of: all that an operation needs to be taken up again."""

    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """As they were given, defaults filled in; those of NoEcho are in here, too."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What ``Ref`` of them comes to."""
    tags: Mapping[str, str] = field(default_factory=dict)
    capabilities: Sequence[str] = ()
    description: str | None = None
    hidden: Sequence[str] = ()
    """The parameters of NoEcho."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    id: str
    name: str
    created_at: datetime
    status: str
    reason: str | None = None
    updated_at: datetime | None = None
    """Of the last update, as the service's LastUpdatedTime; not of every write."""
    deleted_at: datetime | None = None
    current: Inputs | None = None
    """What it was last made of, whole."""
    target: Inputs | None = None
    """What it is being made of."""
    outputs: Sequence[JsonObject] = ()
    imports: Sequence[str] = ()
    disable_rollback: bool = False
    on_failure: str = "ROLLBACK"
    retain_except_on_create: bool = False
    retained: Sequence[str] = ()
    """The resources that a deletion leaves alone, by RetainResources."""
    timeout_minutes: int | None = None
    role_arn: str | None = None
    protected: bool = False
    change_set: str | None = None
    operation: str = ""
    token: str | None = None
    """The ClientRequestToken of the operation."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """Every token that was used, to what it asked for."""

    @property
    def in_progress(self) -> bool:
        return self.status.endswith("_IN_PROGRESS") and self.status != "REVIEW_IN_PROGRESS"

    @property
    def deleted(self) -> bool:
        return self.status == "DELETE_COMPLETE"

    @property
    def inputs(self) -> Inputs | None:
        return self.target or self.current


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceState:
    """A resource of a stack, or one that has been replaced and is still to be deleted."""

    key: str
    """The logical id; with a mark behind it for one that is not the stack's current one."""
    logical_id: str
    type: str
    created_at: datetime
    updated_at: datetime
    status: str
    reason: str | None = None
    name: str = ""
    """What the service's operations call it."""
    physical_id: str = ""
    properties: JsonObject = field(default_factory=dict)
    attributes: JsonObject = field(default_factory=dict)
    after: Sequence[str] = ()
    """The logical ids of those that it waited for: they are deleted later."""
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    metadata: Any = None
    claimed: bool = False
    """Whether the service may have it: from before the call that makes it."""
    made_by: str = ""
    """The operation that made it."""
    done_by: str = ""
    """The last operation that has brought it to where its template wants it."""
    stable: bool = False
    """Whether it belongs to the last state that the stack was brought to whole."""
    previous: JsonObject | None = None
    """Its fields in that state, where it has been changed in place since."""
    policy: str = "Delete"
    """Of one that is not current: what happens to it."""

    @property
    def current(self) -> bool:
        return self.key == self.logical_id


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSet:
    id: str
    name: str
    stack_id: str
    stack_name: str
    kind: str
    created_at: datetime
    status: str
    execution_status: str
    reason: str | None = None
    description: str | None = None
    inputs: Inputs
    changes: Sequence[JsonObject] = ()
    on_failure: str | None = None
    role_arn: str | None = None


class StackBook:
    """Reads and writes them. Thread-safe as the state store is."""

    def __init__(self, state: StateStore, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def transaction(self) -> Any:
        return self._state.transaction()

    # --- stacks ---

    def stacks(self) -> list[Stack]:
        """All, the newest first, without those that were deleted long ago."""
        limit = self._clock.now() - KEPT
        found = [_stack(record.document) for record in self._state.list_resources(STACK)]
        return [s for s in reversed(found) if s.deleted_at is None or s.deleted_at > limit]

    def stack(self, stack_id: str) -> Stack | None:
        record = self._state.get_resource(STACK, stack_id)
        return None if record is None else _stack(record.document)

    def put_stack(self, stack: Stack) -> Stack:
        self._put(STACK, stack.id, stack.id, stack.created_at, stack.status, asdict(stack))
        return stack

    def forget(self, stack: Stack) -> None:
        """Remove a stack and everything of it."""
        with self._state.transaction():
            for kind in (f"{RESOURCE}:{stack.id}", f"{EVENT}:{stack.id}"):
                for record in self._state.list_resources(kind):
                    self._state.delete_resource(kind, record.name)
            for change_set in self.change_sets(stack.id):
                self.delete_change_set(change_set)
            self._state.delete_resource(STACK, stack.id)

    # --- resources ---

    def resources(self, stack_id: str) -> dict[str, ResourceState]:
        """By their keys, in the order in which they were made."""
        records = self._state.list_resources(f"{RESOURCE}:{stack_id}")
        return {record.name: _resource(record.document) for record in records}

    def put_resource(self, stack_id: str, state: ResourceState) -> ResourceState:
        self._put(
            f"{RESOURCE}:{stack_id}",
            state.key,
            state.physical_id,
            state.created_at,
            state.status,
            asdict(state),
        )
        return state

    def delete_resource(self, stack_id: str, key: str) -> None:
        self._state.delete_resource(f"{RESOURCE}:{stack_id}", key)

    # --- events ---

    def events(self, stack_id: str) -> list[JsonObject]:
        """The members of DescribeStackEvents, the newest first."""
        records = self._state.list_resources(f"{EVENT}:{stack_id}")
        return [record.document for record in reversed(records)]

    def stack_event(self, stack: Stack) -> None:
        self._event(stack, stack.name, stack.id, "AWS::CloudFormation::Stack", stack.status,
                    stack.reason)  # fmt: skip

    def resource_event(self, stack: Stack, state: ResourceState) -> None:
        """Write down a state of a resource, and tell of it."""
        with self._state.transaction():
            self.put_resource(stack.id, state)
            self.tell(stack, state)

    def tell(self, stack: Stack, state: ResourceState) -> None:
        self._event(
            stack, state.logical_id, state.physical_id, state.type, state.status, state.reason
        )

    def _event(
        self,
        stack: Stack,
        logical_id: str,
        physical_id: str,
        kind: str,
        status: str,
        reason: str | None,
    ) -> None:
        now, event_id = self._clock.now(), str(uuid4())
        document = {
            "StackId": stack.id,
            "EventId": event_id,
            "StackName": stack.name,
            "LogicalResourceId": logical_id,
            "PhysicalResourceId": physical_id,
            "ResourceType": kind,
            "Timestamp": now.isoformat(),
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
            "ClientRequestToken": stack.token,
            "OperationId": stack.operation or None,
        }
        self._put(f"{EVENT}:{stack.id}", event_id, stack.id, now, status, document)

    # --- change sets ---

    def change_sets(self, stack_id: str) -> list[ChangeSet]:
        found = [_change_set(record.document) for record in self._state.list_resources(CHANGE_SET)]
        return [each for each in found if each.stack_id == stack_id]

    def change_set(self, change_set_id: str) -> ChangeSet | None:
        record = self._state.get_resource(CHANGE_SET, change_set_id)
        return None if record is None else _change_set(record.document)

    def put_change_set(self, change_set: ChangeSet) -> ChangeSet:
        self._put(
            CHANGE_SET,
            change_set.id,
            change_set.id,
            change_set.created_at,
            change_set.status,
            asdict(change_set),
        )
        return change_set

    def delete_change_set(self, change_set: ChangeSet) -> None:
        self._state.delete_resource(CHANGE_SET, change_set.id)

    def _put(
        self, kind: str, name: str, arn: str, created: datetime, status: str, document: JsonObject
    ) -> None:
        self._state.put_resource(
            ResourceRecord(
                kind=kind,
                name=name,
                arn=arn,
                created_at=created,
                last_modified_at=self._clock.now(),
                status=status,
                document={name: _plain(value) for name, value in document.items()},
            )
        )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _stack(document: JsonObject) -> Stack:
    moments = {
        name: _moment(document.get(name)) for name in ("created_at", "updated_at", "deleted_at")
    }
    inputs = {
        name: None if document.get(name) is None else _inputs(document[name])
        for name in ("current", "target")
    }
    return Stack(**_known(Stack, {**document, **moments, **inputs}))


def _resource(document: JsonObject) -> ResourceState:
    moments = {name: _moment(document[name]) for name in ("created_at", "updated_at")}
    return ResourceState(**_known(ResourceState, {**document, **moments}))


def _change_set(document: JsonObject) -> ChangeSet:
    made = {**document, "created_at": _moment(document["created_at"])}
    return ChangeSet(**_known(ChangeSet, {**made, "inputs": _inputs(document["inputs"])}))


def _inputs(document: JsonObject) -> Inputs:
    return Inputs(**_known(Inputs, document))


def _known(record: Any, document: JsonObject) -> JsonObject:
    """What another version has written beside is left out: a gateway has to start all the same."""
    names = {each.name for each in fields(record)}
    return {name: value for name, value in document.items() if name in names}


def changed(state: ResourceState, now: datetime, **to: Any) -> ResourceState:
    """A resource's state with some fields changed; a reason is that of this change."""
    return replace(state, updated_at=now, **{"reason": None, **to})
