"""One resource of a stack: made, changed, put back, deleted.

Every step is written down before the call that it announces. So whoever takes an operation up
again finds a resource unclaimed (no service has it), claimed (a service may have it), or done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from mlops.errors import MlopsError, ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.records import ResourceState, Stack, StackBook, changed
from mlops.services.cloudformation.scheduling import Interrupted, ResourceFailed, Signals
from mlops.services.cloudformation.types import TYPES, Aws, NotStable, ResourceType, is_missing

FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0

_PREVIOUS = (
    "properties",
    "attributes",
    "after",
    "deletion_policy",
    "update_replace_policy",
    "metadata",
    "physical_id",
)

_logger = logging.getLogger(__name__)


class ResourceWork:
    """What is done with one resource in one operation of its stack."""

    def __init__(
        self,
        book: StackBook,
        aws: Aws,
        stack: Stack,
        state: ResourceState,
        signals: Signals,
        changed_to: Callable[[ResourceState], None] = lambda state: None,
    ) -> None:
        """`changed_to` hears of every state of it."""
        self._book = book
        self._aws = aws
        self._stack = stack
        self._signals = signals
        self._changed_to = changed_to
        self.state = state

    # --- the four things to do ---

    def create(self, verb: str = "CREATE") -> None:
        """Make it. `verb` is UPDATE where it takes the place of another."""
        with self._failing(f"{verb}_FAILED"):
            if not self.state.claimed:
                self._claim(verb)
                self._make()
            elif not self._kind.exists(self._aws, self.state.name):
                self._make()
            self._kind.settle(self._aws, self.state.name, self.state.properties)
            self._rest(self.state.properties)
            self._done(f"{verb}_COMPLETE", self.state.properties)

    def update(self, properties: JsonObject, **fields: Any) -> None:
        """Change it in place; `fields` are what else of its state the template has changed."""
        previous = self.state.previous or {name: getattr(self.state, name) for name in _PREVIOUS}
        self._tell(status="UPDATE_IN_PROGRESS", previous=previous, properties=properties, **fields)
        with self._failing("UPDATE_FAILED"):
            self._wait_until_quiet()
            self._kind.update(self._aws, self.state.name, previous["properties"], properties)
            self._rest(properties)
            self._done("UPDATE_COMPLETE", properties)

    def put_back(self) -> None:
        """Undo an update: the resource as it was before."""
        previous = self.state.previous
        assert previous is not None  # whoever calls has looked
        self._tell(status="UPDATE_IN_PROGRESS")
        with self._failing("UPDATE_FAILED"):
            self._wait_until_quiet()
            self._kind.update(
                self._aws, self.state.name, self.state.properties, previous["properties"]
            )
            self._rest(previous["properties"])
            self._tell(status="UPDATE_COMPLETE", **previous, previous=None)

    def delete(self) -> None:
        """Delete it; what is gone already is a success."""
        self._tell(status="DELETE_IN_PROGRESS")
        with self._failing("DELETE_FAILED"):
            if self.state.claimed:
                self._delete()
            self._tell(status="DELETE_COMPLETE")

    # --- their parts ---

    @property
    def _kind(self) -> ResourceType:
        return TYPES[self.state.type]

    @property
    def _token(self) -> str:
        return str(uuid5(NAMESPACE_URL, f"{self._stack.id}/{self.state.key}/{self.state.made_by}"))

    def _claim(self, verb: str) -> None:
        if self._kind.exists(self._aws, self.state.name):
            raise ResourceFailed(f"{self.state.name} already exists")
        self._tell(
            status=f"{verb}_IN_PROGRESS",
            claimed=True,
            physical_id=self.state.name,
            reason="Resource creation Initiated",
        )

    def _make(self) -> None:
        self._signals.check()
        try:
            name = self._kind.create(self._aws, self.state.name, self.state.properties, self._token)
        except ServiceError as error:
            if error.status < 500 or error.status == 501:  # refused: the service has made nothing
                self._put(claimed=False, physical_id="")
            raise
        if name != self.state.name:
            self._put(name=name)

    def _delete(self) -> None:
        state = self.state
        try:
            self._kind.delete(self._aws, state.name, state.properties)
        except ServiceError as error:
            if not is_missing(error):
                raise
        self._wait_while(lambda: self._kind.exists(self._aws, state.name))

    def _wait_until_quiet(self) -> None:
        """A service does not take an update while the one before is on its way."""
        self._wait_while(lambda: self._kind.busy(self._aws, self.state.name))

    def _rest(self, properties: JsonObject) -> None:
        self._wait_until_quiet()
        try:
            self._kind.verify(self._aws, self.state.name, properties)
        except NotStable as error:
            raise ResourceFailed(str(error)) from error

    def _wait_while(self, busy: Callable[[], bool]) -> None:
        pause = FIRST_PAUSE
        while busy():
            self._signals.pause(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _done(self, status: str, properties: JsonObject) -> None:
        made = self._kind.read(self._aws, self.state.name, properties)
        self._tell(
            status=status,
            physical_id=made.physical_id,
            attributes={name: _plain(value) for name, value in made.attributes.items()},
            done_by=self._stack.operation,
        )

    @contextmanager
    def _failing(self, status: str) -> Iterator[None]:
        """What goes wrong becomes the resource's state, and ResourceFailed."""
        try:
            yield
        except Interrupted:
            raise
        except Exception as error:
            if self._signals.leaving:  # a call that failed as the gateway leaves says nothing
                raise Interrupted from error
            reason = reason_of(error)
            self._tell(status=status, reason=reason)
            raise ResourceFailed(reason) from error

    def _tell(self, **fields: Any) -> None:
        self.state = changed(self.state, self._book.now(), **fields)
        self._book.resource_event(self._stack, self.state)
        self._changed_to(self.state)

    def _put(self, **fields: Any) -> None:
        self.state = replace(self.state, **fields)
        self._book.put_resource(self._stack.id, self.state)
        self._changed_to(self.state)


def reason_of(error: Exception) -> str:
    """The ResourceStatusReason of an error, in the form that the service has for its handlers'."""
    if isinstance(error, ResourceFailed):
        return str(error)
    if isinstance(error, ServiceError):
        return f'Resource handler returned message: "{error.what}" (HandlerErrorCode: {error.code})'
    if isinstance(error, MlopsError):
        return f'Resource handler returned message: "{error}"'
    _logger.error("a resource of a stack failed", exc_info=error)
    return "Internal failure: the gateway's log says how"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
