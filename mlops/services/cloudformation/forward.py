"""A stack brought to what its plan wants: resources made, changed, replaced.

What is taken up again goes over the plan from its beginning; what this operation has done already
is left as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.differences import difference
from mlops.services.cloudformation.planning import Known, Plan
from mlops.services.cloudformation.records import ResourceState, Stack, StackBook, changed
from mlops.services.cloudformation.scheduling import ResourceFailed, Signals, run_graph
from mlops.services.cloudformation.template import DELETE
from mlops.services.cloudformation.types import TYPES, Aws
from mlops.services.cloudformation.work import ResourceWork
from mlops.unknown import UNKNOWN

_REPLACING = (
    "Requested update requires the creation of a new physical resource; hence creating one."
)


def former_key(logical_id: str, mark: str) -> str:
    """The key of a resource whose logical id has another one now."""
    return f"{logical_id}~{mark}"


class Forward:
    """One operation's way to its plan."""

    def __init__(
        self,
        book: StackBook,
        aws: Aws,
        stack: Stack,
        plan: Plan,
        signals: Signals,
        imported: Callable[[str], Any],
    ) -> None:
        self._book = book
        self._aws = aws
        self._stack = stack
        self._plan = plan
        self._signals = signals
        self._states = book.resources(stack.id)
        self.known = Known(self._reference, self._attribute, imported)

    def run(self) -> dict[str, str]:
        """Go; the failures by logical id.

        Raises:
            Interrupted: the gateway is leaving.
        """
        return run_graph(self._plan.after, self._ensure, failed=self._signals.cancel)

    def removed(self) -> list[ResourceState]:
        """The current resources that the plan does not have."""
        return [
            state
            for state in self._states.values()
            if state.current and state.logical_id not in self._plan.resources
        ]

    # --- one resource ---

    def _ensure(self, name: str) -> None:
        self._signals.check()
        state = self._states.get(name)
        if state is not None and state.done_by == self._stack.operation:
            return
        try:
            properties = self._plan.properties(name, self.known)
        except ServiceError as error:
            self._fail(name, state, error.what)
        if state is not None and not state.done_by and state.status.endswith("_FAILED"):
            self._work(state).delete()  # of an update that failed and was not rolled back
            state = self._states[name] = replace(state, claimed=False, physical_id="")
        if state is None or not (state.claimed or state.done_by):
            self._create(name, properties, state is not None and "UPDATE" in state.status)
        elif state.status == "CREATE_IN_PROGRESS" or self._replacing_now(state):
            self._work(state).create(state.status.partition("_")[0])
        else:
            self._change(state, properties)

    def _replacing_now(self, state: ResourceState) -> bool:
        """Whether it was being made in another's place when the gateway went."""
        return state.status == "UPDATE_IN_PROGRESS" and not state.done_by

    def _create(self, name: str, properties: JsonObject, replacing: bool = False) -> None:
        verb = "UPDATE" if replacing else "CREATE"
        state = self._new(name, properties, verb)
        if replacing:
            state = replace(state, reason=_REPLACING)
        with self._book.transaction():
            self._keep(state)
            self._book.tell(self._stack, state)
        self._work(state).create(verb)

    def _new(self, name: str, properties: JsonObject, verb: str) -> ResourceState:
        resource, now = self._plan.resources[name], self._book.now()
        kind = TYPES[resource.type]
        own = None if kind.name_property is None else properties.get(kind.name_property)
        before = self._states.get(name)
        again = before is not None and not before.claimed and before.type == resource.type
        kept = before.name if again and before is not None else ""
        return ResourceState(
            key=name,
            logical_id=name,
            type=resource.type,
            created_at=before.created_at if again and before is not None else now,
            updated_at=now,
            status=f"{verb}_IN_PROGRESS",
            name=own or kept or kind.new_name(self._stack.name, name),
            properties=properties,
            made_by=self._stack.operation,
            **self._of_template(name),
        )

    def _of_template(self, name: str) -> JsonObject:
        resource = self._plan.resources[name]
        return {
            "after": sorted(self._plan.after[name]),
            "deletion_policy": resource.deletion_policy,
            "update_replace_policy": resource.update_replace_policy,
            "metadata": resource.metadata,
        }

    def _change(self, state: ResourceState, properties: JsonObject) -> None:
        resource, name = self._plan.resources[state.logical_id], state.logical_id
        kind = TYPES[resource.type]
        before = state.properties
        unfinished = state.status in ("UPDATE_IN_PROGRESS", "UPDATE_FAILED")
        if unfinished and state.previous is not None:
            before = state.previous["properties"]
        if resource.type != state.type:
            self._replace(state, properties)
            return
        found = difference(kind, before, properties)
        if found.replacing:
            own = kind.name_property
            if (
                own is not None
                and own in properties
                and own in before
                and (properties[own] == before[own])
            ):
                self._fail(
                    name,
                    state,
                    "CloudFormation cannot update a stack when a custom-named resource requires "
                    f"replacing. Rename {properties[own]} and update the stack again.",
                )
            self._replace(state, properties)
        elif found.changed or unfinished:
            self._work(state).update(properties, **self._of_template(name))
        else:
            self._keep(replace(state, done_by=self._stack.operation, **self._of_template(name)))

    def _replace(self, state: ResourceState, properties: JsonObject) -> None:
        """Keep the old one aside until the update has succeeded, and make another."""
        resource = self._plan.resources[state.logical_id]
        key = former_key(state.logical_id, self._stack.operation)
        same_type = state.type == resource.type
        policy = state.update_replace_policy if same_type else state.deletion_policy
        policy = policy if state.stable else DELETE
        former = replace(state, key=key, policy=policy)
        with self._book.transaction():
            self._keep(former)
            self._book.delete_resource(self._stack.id, state.key)
            self._states.pop(state.key)
            made = self._new(state.logical_id, properties, "UPDATE")
            made = replace(made, reason=_REPLACING)
            self._keep(made)
            self._book.tell(self._stack, made)
        self._work(made).create("UPDATE")

    def _fail(self, name: str, state: ResourceState | None, reason: str) -> Any:
        """End a resource before anything was asked of a service."""
        verb = "CREATE" if state is None or not state.done_by else "UPDATE"
        failed = state or self._new(name, {}, verb)
        failed = changed(failed, self._book.now(), status=f"{verb}_FAILED", reason=reason)
        if state is None:
            self._keep(failed)
        self._book.tell(self._stack, failed)
        raise ResourceFailed(reason)

    # --- what is known ---

    def _work(self, state: ResourceState) -> ResourceWork:
        return ResourceWork(
            self._book, self._aws, self._stack, state, self._signals, self._remember
        )

    def _keep(self, state: ResourceState) -> None:
        self._book.put_resource(self._stack.id, state)
        self._remember(state)

    def _remember(self, state: ResourceState) -> None:
        self._states[state.key] = state

    def _reference(self, name: str) -> Any:
        state = self._states.get(name)
        return UNKNOWN if state is None else state.physical_id

    def _attribute(self, name: str, attribute: str) -> Any:
        state = self._states.get(name)
        if state is None or attribute not in state.attributes:
            raise ServiceError(
                "ValidationError", f"{name} has no attribute {attribute} that could be told"
            )
        return state.attributes[attribute]
