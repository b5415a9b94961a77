"""What goes on in a stack, from status to status.

Each status in progress has one step that ends in another status. Whoever finds a stack in such a
status, after a kill or not, takes the step.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.backward import Backward
from mlops.services.cloudformation.exports import Exports, ImportedNames
from mlops.services.cloudformation.forward import Forward, former_key
from mlops.services.cloudformation.planning import Identity, Plan, make_plan
from mlops.services.cloudformation.records import Inputs, ResourceState, Stack, StackBook
from mlops.services.cloudformation.scheduling import Interrupted, Signals
from mlops.services.cloudformation.template import RETAIN, RETAIN_EXCEPT_ON_CREATE, parse_template
from mlops.services.cloudformation.types import Aws

_FAILED = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED",
    "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_FAILED",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
}
"""Where a stack ends whose step has a defect."""

_logger = logging.getLogger(__name__)


def plan_of(inputs: Inputs, identity: Identity, imported: Callable[[str], Any]) -> Plan:
    return make_plan(
        parse_template(inputs.template), inputs.values, identity, inputs.tags, imported
    )


class StackOperation:
    """Takes a stack on until it rests."""

    def __init__(
        self,
        book: StackBook,
        aws: Aws,
        stack_id: str,
        leaving: threading.Event,
        identify: Callable[[Stack], Identity],
        lock: threading.RLock,
    ) -> None:
        """`lock` is held by whoever decides about a stack's status."""
        self._book = book
        self._aws = aws
        self._stack_id = stack_id
        self._leaving = leaving
        self._identify = identify
        self._lock = lock
        self._signals = Signals(leaving)
        self._exports = Exports(book)
        self._steps: Mapping[str, Callable[[Stack], None]] = {
            "CREATE_IN_PROGRESS": self._create,
            "ROLLBACK_IN_PROGRESS": self._roll_creation_back,
            "DELETE_IN_PROGRESS": self._delete,
            "UPDATE_IN_PROGRESS": self._update,
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": self._clean_up,
            "UPDATE_ROLLBACK_IN_PROGRESS": self._roll_update_back,
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": self._clean_up,
        }

    def cancel(self) -> None:
        """End the step that runs; what it has not finished fails."""
        self._signals.cancel()

    def run(self) -> None:
        """Until the stack rests, or the gateway leaves."""
        while not self._leaving.is_set():
            with self._lock:
                self._signals = Signals(self._leaving)
                stack = self._book.stack(self._stack_id)
            step = None if stack is None else self._steps.get(stack.status)
            if stack is None or step is None:
                return
            try:
                step(stack)
            except Interrupted:
                return
            except Exception as error:  # a stack must not stay in progress for ever
                if self._leaving.is_set():
                    return
                _logger.exception("%s of the stack %s failed", stack.status, stack.name)
                self._move(stack, _FAILED[stack.status], f"Internal failure: {error}")

    # --- creation ---

    def _create(self, stack: Stack) -> None:
        inputs = _wanted(stack)
        late = self._start_timer(stack)
        try:
            failures, committed = self._go_forward(stack, inputs, "create")
        finally:
            if late is not None:
                late.cancel()
        if committed is not None:
            self._commit(stack, committed, "CREATE_COMPLETE")
        elif stack.disable_rollback or stack.on_failure == "DO_NOTHING":
            self._move(stack, "CREATE_FAILED", failures)
        elif stack.on_failure == "DELETE":
            self._move(stack, "DELETE_IN_PROGRESS", f"{failures}Delete requested by user.")
        else:
            self._move(stack, "ROLLBACK_IN_PROGRESS", f"{failures}Rollback requested by user.")

    def _start_timer(self, stack: Stack) -> threading.Timer | None:
        if stack.timeout_minutes is None:
            return None
        spent = (self._book.now() - stack.created_at).total_seconds()
        left = stack.timeout_minutes * 60 - spent
        if left <= 0:
            self.cancel()
            return None
        timer = threading.Timer(left, self.cancel)
        timer.daemon = True
        timer.start()
        return timer

    def _roll_creation_back(self, stack: Stack) -> None:
        def keeps(state: ResourceState) -> bool:
            policy = state.deletion_policy
            return (
                policy == RETAIN
                and not stack.retain_except_on_create
                and state.status != "CREATE_FAILED"
            )

        failures = self._backward(stack).delete_all(keeps)
        self._move(
            stack, "ROLLBACK_FAILED" if failures else "ROLLBACK_COMPLETE", _not_deleted(failures)
        )

    # --- update ---

    def _update(self, stack: Stack) -> None:
        failures, committed = self._go_forward(stack, _wanted(stack), "update")
        if committed is not None:
            self._commit(stack, committed, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        elif stack.disable_rollback:
            self._move(stack, "UPDATE_FAILED", failures)
        else:
            self._move(stack, "UPDATE_ROLLBACK_IN_PROGRESS", failures)

    def _clean_up(self, stack: Stack) -> None:
        failures = self._backward(stack).clean_up()
        status = stack.status.removesuffix("_CLEANUP_IN_PROGRESS")
        reason = "Update successful. One or more resources could not be deleted."
        self._move(stack, status, reason if failures else None)

    def _roll_update_back(self, stack: Stack) -> None:
        failures = self._backward(stack).put_back()
        if failures:
            names = ", ".join(sorted(failures))
            self._move(
                stack,
                "UPDATE_ROLLBACK_FAILED",
                f"The following resource(s) failed to update: [{names}]. ",
            )
            return
        self._move(stack, "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", None, target=None)

    # --- deletion ---

    def _delete(self, stack: Stack) -> None:
        def keeps(state: ResourceState) -> bool:
            policy = state.deletion_policy if state.current else state.policy
            retains = policy in (RETAIN, RETAIN_EXCEPT_ON_CREATE)
            return state.logical_id in stack.retained or (retains and bool(state.done_by))

        failures = self._backward(stack).delete_all(keeps)
        if failures:
            self._move(stack, "DELETE_FAILED", _not_deleted(failures))
        else:
            self._move(stack, "DELETE_COMPLETE", None, deleted_at=self._book.now(), outputs=())

    # --- both ways ---

    def _go_forward(self, stack: Stack, inputs: Inputs, verb: str) -> tuple[str, JsonObject | None]:
        """What failed as a sentence, or what the stack is to be after it."""
        imported = ImportedNames(self._exports)
        try:
            plan = plan_of(inputs, self._identify(stack), imported)
        except ServiceError as error:  # what was there when it was asked for has gone meanwhile
            return f"{error.what} ", None
        forward = Forward(self._book, self._aws, stack, plan, self._signals, imported)
        failures = forward.run()
        if failures:
            names = ", ".join(sorted(failures))
            return f"The following resource(s) failed to {verb}: [{names}]. ", None
        try:
            outputs = plan.outputs(forward.known)
            self._exports.check(stack, outputs)
        except ServiceError as error:
            return f"{error.what} ", None
        return "", {
            "outputs": outputs,
            "imports": sorted(imported.names),
            "removed": [state.key for state in forward.removed()],
        }

    def _commit(self, stack: Stack, made: JsonObject, status: str) -> None:
        """The stack is what was asked for; what it has no more is set aside, in one step."""
        with self._lock, self._book.transaction():
            if self._is_superseded(stack):
                return
            for key, state in self._book.resources(stack.id).items():
                if key in made["removed"]:
                    self._book.delete_resource(stack.id, key)
                    key, policy = former_key(key, stack.operation), state.deletion_policy
                    policy = "Delete" if policy == RETAIN_EXCEPT_ON_CREATE else policy
                    state = replace(state, key=key, policy=policy)
                if state.current:
                    state = replace(state, stable=True, previous=None)
                self._book.put_resource(stack.id, state)
            self._move(
                stack,
                status,
                None,
                current=stack.target,
                target=None,
                outputs=made["outputs"],
                imports=made["imports"],
            )

    def _move(self, stack: Stack, status: str, reason: str | None, **fields: Any) -> None:
        """To another status, unless somebody has decided otherwise meanwhile."""
        with self._lock, self._book.transaction():
            if self._is_superseded(stack):
                return
            fresh = self._book.stack(stack.id) or stack
            moved = replace(fresh, status=status, reason=reason, **fields)
            self._book.put_stack(moved)
            self._book.stack_event(moved)

    def _is_superseded(self, stack: Stack) -> bool:
        fresh = self._book.stack(stack.id)
        return fresh is None or fresh.status != stack.status

    def _backward(self, stack: Stack) -> Backward:
        return Backward(self._book, self._aws, stack, self._signals)


def _wanted(stack: Stack) -> Inputs:
    assert stack.target is not None  # a stack in such a status has one
    return stack.target


def _not_deleted(failures: Mapping[str, str]) -> str | None:
    if not failures:
        return None
    return f"The following resource(s) failed to delete: [{', '.join(sorted(failures))}]. "
