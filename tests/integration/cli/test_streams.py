"""Where the command writes: pipes, closed streams, full disks, small and old terminals."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from .conftest import COMMAND, Shell, script

COUNTING = "import time\nfor n in range(1, 6): print(f'epoch {n} of 5'); time.sleep(0.3)"
ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def in_terminal(shell: Shell, *arguments: object, columns: int = 120, **variables: str) -> str:
    """Run the command with a terminal of so many columns; returns all that it wrote."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**shell.environment, "TERM": "xterm-256color", **variables}
    environment.pop("COLUMNS")
    process = subprocess.Popen(
        [COMMAND, *map(str, arguments)],
        cwd=shell.folder,
        env=environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    written = b""
    while part := read(leader):
        written += part
    os.close(leader)
    assert process.wait(timeout=60) == 0, written.decode()
    return written.decode()


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody has the other end any more
        return b""


def test_a_terminal_gets_a_bar_and_colours_and_is_left_in_order(shell: Shell) -> None:
    shown = in_terminal(shell, "run", shell.definition(script("Count", COUNTING)))
    assert "preparing the run" in shown
    assert "━" in shown
    assert "\x1b[32m✓" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back


def test_a_narrow_terminal_breaks_no_line_of_the_summary(shell: Shell) -> None:
    file = shell.definition(script("A-step-with-a-name", "print('detail: ' + 'long ' * 20)"))
    shown = ESCAPE.sub("", in_terminal(shell, "run", file, columns=60))
    summary = shown[shown.index("step  ") :].splitlines()
    assert any("A-step-with-a-name" in line and "✓ Succeeded" in line for line in summary)
    assert max(len(line.rstrip()) for line in summary[:4]) <= 60


def test_no_color_means_none(shell: Shell) -> None:
    file = shell.definition(script("Count", COUNTING))
    shown = in_terminal(shell, "run", file, NO_COLOR="1")
    assert not re.search(r"\x1b\[[\d;]*3\d[;m]", shown)
    assert "\x1b" not in in_terminal(shell, "doctor", NO_COLOR="1")


def test_a_dumb_terminal_gets_lines(shell: Shell) -> None:
    shown = in_terminal(shell, "run", shell.definition(script("Count", COUNTING)), TERM="dumb")
    assert "\x1b[?25l" not in shown
    assert "Count │ epoch 5 of 5" in shown


def test_what_a_step_writes_cannot_change_the_terminal(shell: Shell) -> None:
    file = shell.definition(script("Evil", r"print('\x1b[2J\x1b]0;mine\x07[red]hello[/red]')"))
    shown = in_terminal(shell, "run", file)
    assert "\x1b[2J" not in shown
    assert "\x1b]0;" not in shown
    assert "[red]hello[/red]" in shown


def test_a_pipe_gets_lines_without_colours(shell: Shell) -> None:
    shown = shell("run", shell.definition(script("Count", COUNTING))).stdout
    assert "\x1b" not in shown
    assert "Count │ epoch 5 of 5" in shown
    assert "preparing" not in shown


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"PYTHONIOENCODING": "latin-1"},
    ],
)
def test_a_stream_that_knows_few_signs_gets_stand_ins(
    shell: Shell, variables: dict[str, str]
) -> None:
    shell.variables = variables
    file = shell.definition(script("Say", "print('detail: ü 你好 ✓')"))
    assert "status    + Succeeded" in shell("run", file).stdout
    for words in (["status"], ["executions", "list"], ["models", "list"], ["doctor"]):
        shell(*words)


def test_closed_streams_are_no_fault(shell: Shell) -> None:
    file = shell.definition(script("Say", "print('x')"))
    for closed in ("executions list >&-", f"run {file} >&- 2>&-", "status <&-"):
        command = f"{COMMAND} {closed}"
        assert subprocess.run(command, shell=True, env=shell.environment).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
def test_an_output_on_a_full_disk_is_told(shell: Shell) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, "status"],
            env=shell.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 3
    assert "The disk is full" in done.stderr
