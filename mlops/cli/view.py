"""What a person sees while an execution runs: one line for each step as it starts and ends.

Two views of the same happenings: `LiveView` for a terminal (a moving region with what runs now,
finished lines above it) and `PlainView` for everything else (lines only). Both say the same words.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

MARKS = {
    "Succeeded": ("✓", "green"),
    "Failed": ("✗", "red"),
    "CompletedWithFailures": ("✗", "red"),
    "Stopped": ("■", "yellow"),
    "Executing": ("…", "cyan"),
    "Starting": ("…", "cyan"),
    "Stopping": ("…", "yellow"),
}
REASON_LINES = 6
WIDE = 100
"""Columns from which a terminal has room for all that can be said of a step."""
PROGRESS = re.compile(r"\b(\d+) of (\d+)\b")


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step as it is told in one line. `overhead_seconds` is what was not its job's own time."""

    name: str
    type: str
    status: str
    seconds: float = 0.0
    overhead_seconds: float = 0.0
    detail: str = ""
    failure_reason: str = ""


class RunView(Protocol):
    """What happens in an execution, in the order in which it happens."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def say(self, text: str) -> None: ...
    def step_started(self, step: StepLine) -> None: ...
    def step_logged(self, name: str, lines: Sequence[str]) -> None: ...
    def step_ended(self, step: StepLine) -> None: ...


def step_text(step: StepLine, name_width: int) -> Text:
    """``ETL        Processing   ✓   2.1 s  +0.3   37,758 train``, with colours."""
    mark, colour = MARKS.get(step.status, ("?", "white"))
    text = Text("  ")
    text.append(step.name.ljust(name_width), style="bold")
    text.append(f"  {step.type:<13}  ")
    text.append(mark, style=colour)
    if step.status in ("Succeeded", "Failed", "Stopped"):
        text.append(f"  {step.seconds:6.1f} s")
        text.append(f"  +{step.overhead_seconds:<4.1f}", style="dim")
        text.append(f"  {step.detail}")
    else:
        text.append(f"  {step.status.lower()}", style="dim")
    text.rstrip()
    return text


@dataclass
class PlainView:
    """Lines only, for pipes, files and CI."""

    console: Console
    name_width: int = 12
    with_logs: bool = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def say(self, text: str) -> None:
        self._line(Text(text))

    def step_started(self, step: StepLine) -> None:
        self._line(step_text(step, self.name_width))

    def step_logged(self, name: str, lines: Sequence[str]) -> None:
        if not self.with_logs:
            return
        for line in lines:
            text = Text("    ")
            text.append(f"{name} │ ", style="cyan")
            text.append(line, style="dim")
            self._line(text)

    def step_ended(self, step: StepLine) -> None:
        text = step_text(step, self.name_width)
        if self.console.is_terminal and text.cell_len > self.console.width:
            self._line(step_text(replace(step, detail=""), self.name_width))
            self._line(Text(f"      {step.detail}"))
        else:
            self._line(text)
        if step.status == "Failed" and step.failure_reason:
            # A traceback's end says what went wrong; the summary names the log with all of it.
            lines = step.failure_reason.splitlines()
            cut = [] if len(lines) <= REASON_LINES else ["…"]
            for line in cut + lines[-REASON_LINES:]:
                self._line(Text("      " + line, style="red"))

    def _line(self, text: Text) -> None:
        self.console.print(text, soft_wrap=True, highlight=False)


@dataclass
class _Running:
    step: StepLine
    since: float
    last_line: str = ""
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))


@dataclass
class LiveView(PlainView):
    """A terminal: what runs now moves at the bottom, with a bar where a step counts up."""

    running: dict[str, _Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._live = Live(
            self, console=self.console, refresh_per_second=8, transient=True, auto_refresh=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.stop()

    def step_started(self, step: StepLine) -> None:
        self.running[step.name] = _Running(step, time.monotonic())

    def step_logged(self, name: str, lines: Sequence[str]) -> None:
        super().step_logged(name, lines)
        if lines and name in self.running:
            self.running[name].last_line = lines[-1]

    def step_ended(self, step: StepLine) -> None:
        self.running.pop(step.name, None)
        super().step_ended(step)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The moving region, drawn from what runs at this moment."""
        wide = options.max_width >= WIDE
        table = Table.grid(padding=(0, 2))
        for name, running in list(self.running.items()):
            name = name.ljust(self.name_width) if wide else name  # in line with the lines above
            kind = [running.step.type] if wide else []
            table.add_row(
                running.spinner,
                Text(name, style="bold", no_wrap=True, overflow="ellipsis"),
                *kind,
                Text(f"{time.monotonic() - running.since:5.1f} s", no_wrap=True),
                _progress(running.last_line),
                Text(running.last_line, style="dim", no_wrap=True, overflow="ellipsis"),
            )
        yield table


def _progress(line: str) -> ProgressBar | str:
    found = PROGRESS.search(line)
    if not found or int(found[2]) == 0:
        return ""
    return ProgressBar(total=int(found[2]), completed=int(found[1]), width=16)


def make_view(console: Console, step_names: Sequence[str], *, with_logs: bool) -> RunView:
    """The view that fits the console."""
    width = max([len(name) for name in step_names] + [8])
    kind = LiveView if console.is_terminal and not console.is_dumb_terminal else PlainView
    return kind(console, name_width=min(width, 28), with_logs=with_logs)
