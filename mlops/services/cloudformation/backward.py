"""A stack brought back: resources put back as they were, and deleted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter

from mlops.services.cloudformation.forward import former_key
from mlops.services.cloudformation.records import ResourceState, Stack, StackBook, changed
from mlops.services.cloudformation.scheduling import Signals, run_graph
from mlops.services.cloudformation.template import DELETE
from mlops.services.cloudformation.types import Aws
from mlops.services.cloudformation.work import ResourceWork

GONE = ("DELETE_COMPLETE", "DELETE_SKIPPED")


class Backward:
    """What undoes an operation of a stack, or the stack."""

    def __init__(self, book: StackBook, aws: Aws, stack: Stack, signals: Signals) -> None:
        self._book = book
        self._aws = aws
        self._stack = stack
        self._signals = signals

    def put_back(self) -> dict[str, str]:
        """The resources as they were before the update; the failures by logical id.

        What the update has made is set aside for `clean_up`.
        """
        for state in self._states().values():
            if state.current and not state.stable:
                self._exchange(state)
        changed_ones = {key: state for key, state in self._states().items() if state.previous}
        after = {
            key: [name for name in (state.previous or {})["after"] if name in changed_ones]
            for key, state in changed_ones.items()
        }
        return self._run(after, lambda key: self._work(changed_ones[key]).put_back())

    def _exchange(self, state: ResourceState) -> None:
        """Put a resource that this update has made aside, and the one of before in its place."""
        former = [
            each
            for each in self._states().values()
            if each.logical_id == state.logical_id and not each.current and each.stable
        ]
        with self._book.transaction():
            if state.claimed:
                key = former_key(state.logical_id, f"{self._stack.operation}-undone")
                self._put(replace(state, key=key, policy=DELETE))
            self._book.delete_resource(self._stack.id, state.key)
            for back in former[:1]:
                self._book.delete_resource(self._stack.id, back.key)
                again = changed(
                    back, self._book.now(), key=back.logical_id, status="UPDATE_COMPLETE"
                )
                self._book.resource_event(self._stack, again)

    def clean_up(self) -> dict[str, str]:
        """Delete what has no place in the stack any more; what cannot be deleted is let go."""
        states = {key: state for key, state in self._states().items() if not state.current}

        def delete(key: str) -> None:
            state = states[key]
            if state.policy == DELETE:
                self._work(state).delete()
            else:
                self._skip(state)

        failures = self._run(deletion_order(states), delete)
        for key in states:
            self._book.delete_resource(self._stack.id, key)
        return failures

    def delete_all(self, keeps: Callable[[ResourceState], bool]) -> dict[str, str]:
        """Delete every resource but those that `keeps` says stay; the failures by logical id."""
        states = {key: state for key, state in self._states().items() if state.status not in GONE}

        def delete(key: str) -> None:
            state = states[key]
            if keeps(state):
                self._skip(state)
            else:
                self._work(state).delete()

        return self._run(deletion_order(states), delete)

    def _run(
        self, after: Mapping[str, Iterable[str]], work: Callable[[str], None]
    ) -> dict[str, str]:
        failures = run_graph(after, work)
        return {key.partition("~")[0]: reason for key, reason in failures.items()}

    def _skip(self, state: ResourceState) -> None:
        skipped = changed(state, self._book.now(), status="DELETE_SKIPPED")
        self._book.resource_event(self._stack, skipped)

    def _work(self, state: ResourceState) -> ResourceWork:
        return ResourceWork(self._book, self._aws, self._stack, state, self._signals)

    def _put(self, state: ResourceState) -> None:
        self._book.put_resource(self._stack.id, state)

    def _states(self) -> dict[str, ResourceState]:
        return self._book.resources(self._stack.id)


def deletion_order(states: Mapping[str, ResourceState]) -> dict[str, list[str]]:
    """Whose deletion each deletion comes after: those that had waited for it to be made."""
    after = {
        key: [
            other
            for other, each in states.items()
            if other != key and state.logical_id in each.after
        ]
        for key, state in states.items()
    }
    try:
        TopologicalSorter(after).prepare()
    except CycleError:
        # Resources of several templates can wait for one another: then the last made goes first.
        keys = list(states)[::-1]
        return {key: keys[:position][-1:] for position, key in enumerate(keys)}
    return after
