"""Follow an execution from its first event to its last, and tell a view."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlops.cli.plain_text import without_controls
from mlops.cli.view import RunView, StepLine
from mlops.interrupts import interrupts_held

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient

ENDED = ("Succeeded", "CompletedWithFailures", "Failed", "Stopped")
WAIT_SECONDS = 10.0
DETAIL = "detail: "
"""What a step's script writes before its result in one line."""
INSTANT = ("Condition", "Fail", "Model", "RegisterModel")
"""Steps without a job: their start is not worth a line."""


@dataclass
class Follower:
    """Turns the gateway's answers into calls on a view. Holds how far it has read."""

    view: RunView
    step: str | None = None
    """Tell of this step alone."""
    events_read: int = 0
    offsets: dict[str, int] = field(default_factory=dict)
    _tails: dict[str, str] = field(default_factory=dict)
    """The last line of a log that has no end yet."""
    _details: dict[str, str] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)

    def follow(self, client: GatewayClient, execution_id: str) -> str:
        """Until the execution has ended; returns its status."""
        while True:
            answer = client.follow(
                execution_id, events=self.events_read, logs=self.offsets, wait=WAIT_SECONDS
            )
            with interrupts_held():  # what has come is told whole, and not a second time
                self.take(answer)
            if answer["status"] in ENDED and not answer["events"] and not answer["logs"]:
                return str(answer["status"])

    def take(self, answer: dict[str, Any]) -> None:
        """Tell the view what an answer brings, each step's log before its end.

        A step that starts and ends within one answer (a condition) is told by its end alone.
        """
        events = [
            event["data"]
            for event in answer["events"]
            if event["kind"] == "step" and self.step in (None, event["data"]["name"])
        ]
        if answer["events"]:
            self.events_read = answer["events"][-1]["sequence"]
        ending = {data["name"] for data in events if data["status"] in ENDED}
        logs = dict(answer["logs"])
        for data in events:
            name = data["name"]
            if name not in ending or any(step_of(each) == name for each in logs):
                self._start(data)
            if note := data.get("note"):
                self.view.say(f"  {name} · {note}")
            if data["status"] in ENDED:
                for each in [each for each in logs if step_of(each) == name]:
                    self._log(each, logs.pop(each))
                self._end(data)
        for name, log in logs.items():
            self._log(name, log)

    def _start(self, data: dict[str, Any]) -> None:
        if data["type"] in INSTANT or data["name"] in self._shown:
            return
        if data["status"] in ("Starting", "Executing"):
            self._shown.add(data["name"])
            self.view.step_started(_line(data, ""))

    def _log(self, name: str, log: dict[str, Any]) -> None:
        self.offsets[name] = log["offset"]
        if self.step not in (None, step_of(name)):
            return
        *lines, self._tails[name] = (self._tails.get(name, "") + log["text"]).split("\n")
        self._tell(step_of(name), lines)

    def _tell(self, name: str, lines: list[str]) -> None:
        # A carriage return redraws a line (progress bars do): what stands last is the line.
        shown = [without_controls(line.rstrip("\r").rpartition("\r")[2]) for line in lines]
        for line in shown:
            if line.startswith(DETAIL):
                self._details[name] = line.removeprefix(DETAIL)
        # A detail is shown beside its step, not a second time in the log.
        if log := [line for line in shown if not line.startswith(DETAIL)]:
            self.view.step_logged(name, log)

    def _end(self, data: dict[str, Any]) -> None:
        for each in [each for each in self._tails if step_of(each) == data["name"]]:
            if tail := self._tails.pop(each):
                self._tell(data["name"], [tail])
        self.view.step_ended(_line(data, self._details.get(data["name"], "")))


def step_of(log: str) -> str:
    """The step of a log: ``Train/attempt-2`` is one of Train's."""
    return log.partition("/")[0]


def _line(data: dict[str, Any], detail: str) -> StepLine:
    return StepLine(
        name=data["name"],
        type=data["type"],
        status=data["status"],
        seconds=data.get("seconds") or 0.0,
        overhead_seconds=data.get("overhead_seconds") or 0.0,
        detail=data.get("detail") or detail,
        failure_reason=data.get("failure_reason") or "",
    )
