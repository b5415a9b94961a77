"""A shell in a job's place: the same image, mounts and environment, another command.

In there `shell_server.txt` runs (on the image's Python), puts a shell on a terminal of its own and
waits at a port of this machine's loopback for whoever knows the token; this side hands over what is
typed and shows what comes. That is the same in containers and in processes, and needs no terminal
of the runtime's.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import join

from mlops.developing.inside import Change, Inside
from mlops.ports import JobSpec, RunningServer

SERVER = Path(__file__).with_name("shell_server.txt")
NAME = "mlops-shell.py"
_SECONDS = 60.0


def in_a_shell(say: Callable[[str], None]) -> Change:
    """What opens a shell in the place of a job's command, on this process's terminal."""

    def change(job: JobSpec) -> Inside:
        token = secrets.token_hex(16)
        shutil.copyfile(SERVER, job.folder / NAME)
        command = join([*job.command, *job.arguments])

        def attend(server: RunningServer) -> None:
            say(f"a shell in the place of {server.name}; its exit status is the step's")
            say(f"the step's own command: {command or 'that of its image'}")
            threading.Thread(target=_attend, args=(server, token), daemon=True).start()

        return Inside(
            command=("python3", f"/opt/ml/{NAME}"),
            attend=attend,
            environment={"MLOPS_SHELL_TOKEN": token, "TERM": os.environ.get("TERM", "dumb")},
        )

    return change


def _attend(server: RunningServer, token: str) -> None:
    connection = _connected(server, token)
    if connection is None:
        return  # it has ended: its log says why
    with connection, _raw_terminal():
        threading.Thread(target=_send, args=(connection,), daemon=True).start()
        with suppress(OSError):
            while data := connection.recv(65536):
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()


def _connected(server: RunningServer, token: str) -> socket.socket | None:
    """A connection to the shell, once it listens; None where it has ended or never does."""
    host, _, port = (server.address or "").rpartition(":")
    size = os.get_terminal_size() if sys.stdout.isatty() else os.terminal_size((0, 0))
    deadline = time.monotonic() + _SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            connection = socket.create_connection((host, int(port)), timeout=5)
            connection.settimeout(None)
            connection.sendall(f"{token} {size.lines} {size.columns}\n".encode())
            # The engine's proxy takes connections before anything listens behind it.
            if connection.recv(1, socket.MSG_PEEK):
                return connection
            connection.close()
        time.sleep(0.1)
    return None


def _send(connection: socket.socket) -> None:
    with suppress(OSError):
        while data := os.read(sys.stdin.fileno(), 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    """Let every key through as it is; afterwards the terminal is as it was."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin.fileno())
    tty.setraw(sys.stdin.fileno())
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, before)
