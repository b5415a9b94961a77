"""Where the command writes to, and the small forms that every command uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlops.cli.view import MARKS

PIPE_WIDTH = 10_000
"""Columns: so many that nothing is wrapped which `grep` should find on one line."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command: rich would end the process here and now."""
        raise BrokenPipeError


def make_console(*, stderr: bool = False) -> Console:
    """A console on stdout (or stderr). A pipe gets no colours, and as much width as it takes."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return _Console(file=stream, width=width, highlight=False, soft_wrap=False)


def preparing(console: Console, text: str) -> AbstractContextManager[object]:
    """Say in a moving line what takes its time; a pipe, where nobody waits, hears nothing."""
    moves = console.is_terminal and not console.is_dumb_terminal
    return console.status(text, spinner="dots") if moves else nullcontext()


def shown_path(path: Path) -> str:
    """A path as short as it can be said: from the working folder on where it lies below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def marked(status: str) -> Text:
    """A status with its mark and colour."""
    mark, colour = MARKS.get(status, ("·", "white"))
    return Text(f"{mark} {status}", style=colour)


def table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print rows under column names; a name that starts with ``>`` is a column of numbers."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim")
    for column in columns:
        grid.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left"
        )
    for row in rows:
        grid.add_row(*row)
    console.print(grid)


def when(value: float | str | datetime | None) -> str:
    """A moment in local time to the second; the argument is epoch seconds, ISO 8601 or aware."""
    if value is None:
        return ""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        value = datetime.fromtimestamp(value, tz=UTC)
    return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
