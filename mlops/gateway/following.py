"""Following an execution: its events and the growth of its logs, by long requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mlops.execution.step_run import attempt_folder
from mlops.ports import Event, ExecutionStatus, JsonObject, StateStore, StepRecord

MAXIMUM_WAIT = 30.0  # seconds of one request
MAXIMUM_LOG = 256 * 1024  # bytes of one log in one answer
_LOOK = 0.1  # seconds between looks at the logs; events wake a follower at once


class EventSource(Protocol):
    """What following needs of ``mlops.execution.ExecutionManager``."""

    def follow(self, arn: str, after: int, timeout: float) -> Sequence[Event]: ...


class Follower:
    """Answers ``POST /_mlops/executions/{id}/follow``. ``stopping`` ends every wait."""

    def __init__(
        self, state: StateStore, events: EventSource, store: Path, stopping: threading.Event
    ) -> None:
        self._state = state
        self._events = events
        self._store = store
        self._stopping = stopping

    def follow(self, arn: str, after: int, offsets: Mapping[str, int], wait: float) -> JsonObject:
        """What is new: events after `after`, and each step's log from its offset (bytes) on.

        Returns as soon as anything is new or the execution has ended, at the latest after `wait`
        seconds. ``logs`` names only those with new text: ``Train``, and ``Train/attempt-2`` for a
        later attempt, which has a log and an offset of its own. The status is read before the rest,
        so an answer of an ended execution with neither events nor logs says that all has been told.
        """
        deadline = time.monotonic() + min(wait, MAXIMUM_WAIT)
        while True:
            status = self._status(arn)
            logs = self._read_logs(arn, offsets)
            left = deadline - time.monotonic()
            patience = 0.0 if logs or status.ended else max(0.0, min(_LOOK, left))
            events = self._events.follow(arn, after, patience)
            if events:
                # What a step wrote before its end is told with the end, not after it.
                logs = self._read_logs(arn, offsets)
            if events or logs or status.ended or left <= 0 or self._stopping.is_set():
                return {
                    "status": status.value,
                    "events": [_event(event) for event in events],
                    "logs": logs,
                }

    def _status(self, arn: str) -> ExecutionStatus:
        execution = self._state.get_execution(arn)
        # Deleted with its pipeline meanwhile: whoever follows has nothing to wait for.
        return ExecutionStatus.STOPPED if execution is None else execution.status

    def _read_logs(self, arn: str, offsets: Mapping[str, int]) -> JsonObject:
        found: JsonObject = {}
        for step in self._state.list_steps(arn):
            for name, log in _logs_of(step):
                text, offset = read_from(self._store / log, offsets.get(name, 0))
                if text:
                    found[name] = {"text": text, "offset": offset}
        return found


def _logs_of(step: StepRecord) -> Iterator[tuple[str, Path]]:
    """The logs of a step's attempts under names of their own; the first goes by the step's."""
    if step.log is None:
        return
    first = Path(step.log).parent
    if step.attempts > 1:
        first = first.parent
    yield step.name, first / Path(step.log).name
    for attempt in range(2, step.attempts + 1):
        folder = attempt_folder(attempt)
        yield f"{step.name}/{folder}", first / folder / Path(step.log).name


def read_from(log: Path, offset: int) -> tuple[str, int]:
    """The text of a log from `offset` bytes on, whole characters only, and where it ends."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            data = file.read(MAXIMUM_LOG)
    except FileNotFoundError:
        return "", offset
    data = data[: len(data) - _broken_end(data)]
    return data.decode("utf-8", "replace"), offset + len(data)


def _broken_end(data: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character that has not been written whole."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length else 0
    return 0


def _event(event: Event) -> JsonObject:
    return {
        "sequence": event.sequence,
        "at": event.at.isoformat(),
        "kind": event.kind,
        "data": event.data,
    }
