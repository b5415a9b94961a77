"""The state store, seen by somebody who tells of changes once they are on disk.

Every state that SageMaker has events for goes through these methods, whoever changes it: so an
event can neither be forgotten nor be sent for what was rolled back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, cast

from mlops.ports import (
    ExecutionRecord,
    ModelPackageRecord,
    ResourceRecord,
    StateStore,
    StepRecord,
)
from mlops.services.events.changes import (
    Change,
    endpoint_change,
    execution_change,
    package_change,
    resource_changes,
    step_changes,
)


class Listener(Protocol):
    """Who is told. ``wanted`` is asked first: without rules there is nothing to tell."""

    def wanted(self) -> bool: ...
    def tell(self, changes: Sequence[Change]) -> None: ...
    def forget(self) -> None: ...


def watched(state: StateStore, listener: Listener) -> StateStore:
    """`state`, with somebody who is told what changes in it."""
    return cast("StateStore", WatchedState(state, listener))


class WatchedState:
    """`ports.StateStore` through another one; what it does not watch goes through as it is."""

    def __init__(self, state: StateStore, listener: Listener) -> None:
        self._state = state
        self._listener = listener
        self._local = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """As `StateStore.transaction`; what has changed in it is told at the outermost end."""
        pending, depth = self._pending(), getattr(self._local, "depth", 0)
        mark = len(pending)
        self._local.depth = depth + 1
        try:
            with self._state.transaction():
                yield
        except BaseException:
            del pending[mark:]
            raise
        finally:
            self._local.depth = depth
        if depth == 0 and pending:
            self._local.pending = []
            self._listener.tell(pending)

    def clear(self) -> None:
        """As `StateStore.clear`; the rules are gone with the rest."""
        self._state.clear()
        self._listener.forget()

    def put_execution(self, execution: ExecutionRecord) -> None:
        self._put(
            lambda: self._state.get_execution(execution.arn),
            lambda: self._state.put_execution(execution),
            lambda old: [execution_change(old, execution)],
        )

    def put_step(self, step: StepRecord) -> None:
        self._put(
            lambda: self._state.get_step(step.execution_arn, step.name),
            lambda: self._state.put_step(step),
            lambda old: list(step_changes(old, step)),
        )

    def put_resource(self, resource: ResourceRecord) -> None:
        self._put(
            lambda: self._state.get_resource(resource.kind, resource.name),
            lambda: self._state.put_resource(resource),
            lambda old: list(resource_changes(old, resource)),
        )

    def delete_resource(self, kind: str, name: str) -> None:
        self._put(
            lambda: self._state.get_resource(kind, name) if kind == "endpoint" else None,
            lambda: self._state.delete_resource(kind, name),
            lambda old: [] if old is None else [endpoint_change(old, "Deleted")],
        )

    def add_model_package(self, package: ModelPackageRecord) -> ModelPackageRecord:
        stored = self._state.add_model_package(package)
        self._note([package_change(None, stored)])
        return stored

    def update_model_package(self, package: ModelPackageRecord) -> None:
        self._put(
            lambda: self._state.get_model_package(package.arn),
            lambda: self._state.update_model_package(package),
            lambda old: [package_change(old, package)],
        )

    def _put(
        self,
        before: Callable[[], Any],
        put: Callable[[], None],
        changes: Callable[[Any], Sequence[Change | None]],
    ) -> None:
        if not self._listener.wanted():
            put()
            return
        old = before()
        put()
        self._note(changes(old))

    def _note(self, changes: Sequence[Change | None]) -> None:
        found = [change for change in changes if change is not None]
        if not found or not self._listener.wanted():
            return
        if getattr(self._local, "depth", 0):
            self._pending().extend(found)
        else:
            self._listener.tell(found)

    def _pending(self) -> list[Change]:
        pending: list[Change] | None = getattr(self._local, "pending", None)
        if pending is None:
            pending = self._local.pending = []
        return pending
