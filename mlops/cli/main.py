"""The entry point: commands by name, and the one place where an error becomes an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

import click

from mlops import __version__
from mlops.cli.plain_text import say_what_the_streams_can
from mlops.errors import DiskFull, EnvironmentLacks, MlopsError, ServiceError
from mlops.interrupts import sigterm_interrupts

INTERRUPTED = 130
WRONG_INPUT = 2
REFUSALS = ("ConflictException", "ResourceInUse", "ResourceNotFound", "ValidationException")
"""Error codes by which a service says that what it was asked for is wrong."""

UNUSABLE = {
    errno.EACCES: "check whose file it is",
    errno.EPERM: "check whose file it is",
    errno.EROFS: "give a place that can be written",
    errno.ENOTDIR: "give another path: a part of this one is a file",
    errno.EISDIR: "give the path of a file",
    errno.ENAMETOOLONG: "give a shorter path",
}
"""What a file system refuses, which is no fault of ours, and what to do about it."""

# Name → where the command is. Order is the order of --help: the main job first.
COMMANDS = {
    "run": "mlops.cli.run:run",
    "compile": "mlops.cli.run:compile_command",
    "validate": "mlops.cli.developing:validate",
    "plan": "mlops.cli.developing:plan",
    "step": "mlops.cli.developing:step",
    "diff": "mlops.cli.developing:diff",
    "executions": "mlops.cli.executions:executions",
    "models": "mlops.cli.models:models",
    "deploy": "mlops.cli.endpoints:deploy",
    "endpoints": "mlops.cli.endpoints:endpoints",
    "test-endpoint": "mlops.cli.endpoints:test_endpoint",
    "images": "mlops.cli.images:images",
    "up": "mlops.cli.gateway:up",
    "down": "mlops.cli.gateway:down",
    "status": "mlops.cli.gateway:status",
    "doctor": "mlops.cli.doctor:doctor",
    "clean": "mlops.cli.clean:clean",
    "init": "mlops.cli.init:init",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mlops", message="%(prog)s %(version)s")
def cli() -> None:
    """The MLOps loop of Amazon SageMaker on this machine, and the same pipeline in AWS.

    Exit codes: 0 succeeded, 1 the pipeline failed, 2 wrong usage or input, 3 the environment
    lacks something, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code; every error ends here, none in a traceback."""
    _open_closed_streams()
    say_what_the_streams_can()
    try:
        with sigterm_interrupts():
            result = cli.main(
                args=None if arguments is None else list(arguments),
                prog_name="mlops",
                standalone_mode=False,
                color=_colour(),
            )
            sys.stdout.flush()
        code = result if isinstance(result, int) else 0
    except (click.exceptions.Abort, KeyboardInterrupt):
        code = _fail("interrupted", INTERRUPTED)
        # CPython remembers a KeyboardInterrupt that passed through exec() (imports, dataclasses)
        # and would end by SIGINT whatever the exit code; the next exec() makes it forget.
        exec("")
    except click.ClickException as error:
        error.show()
        code = WRONG_INPUT
    except MlopsError as error:
        code = _fail(str(error), _exit_code(error))
    except BrokenPipeError:
        code = _deaf_stdout()
    except OSError as error:
        code = _operating_system_error(error)
    except Exception as error:  # noqa: BLE001 - the boundary: a fault of ours is told, not shown
        code = _internal_error(error)
    sys.exit(_said_all(code))


def _said_all(code: int) -> int:
    """Write what waits to be written while an error of that can still be told."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return code or _deaf_stdout()
    except OSError as error:
        _deaf_stdout()
        return code or _operating_system_error(error)
    return code


def _deaf_stdout() -> int:
    """Nothing more can be said to whoever reads our output: has left (`| head`), or is full."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _open_closed_streams() -> None:
    """Let a stream that the caller has closed (`mlops … >&-`) take what nobody will read."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Open for as long as the process lives.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _exit_code(error: MlopsError) -> int:
    refused = isinstance(error, ServiceError) and error.code in REFUSALS
    return WRONG_INPUT if refused else error.exit_code


def _fail(message: str, code: int) -> int:
    click.echo(click.style("error: ", fg="red", bold=True) + message, err=True, color=_colour())
    return code


def _colour() -> bool | None:
    """No colours where NO_COLOR says so (https://no-color.org), else those the stream takes."""
    return False if os.environ.get("NO_COLOR") else None


def _operating_system_error(error: OSError) -> int:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        full = DiskFull(
            "The disk is full",
            where=error.filename and str(error.filename),
            next_step="make room, for example with `mlops clean`, and run the command again",
        )
        return _fail(str(full), full.exit_code)
    if error.filename is not None and error.errno in UNUSABLE:
        unusable = EnvironmentLacks(
            error.strerror or "It cannot be used",
            where=str(error.filename),
            next_step=UNUSABLE[error.errno],
        )
        return _fail(str(unusable), unusable.exit_code)
    return _internal_error(error)


def _internal_error(error: Exception) -> int:
    with NamedTemporaryFile(
        "w", prefix="mlops-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.write("".join(traceback.format_exception(error)))
    return _fail(
        f"a fault in mlops itself: {type(error).__name__}: {error}\n"
        f"  where: {Path(file.name)} has the traceback\n"
        "  next:  report it with that file",
        1,
    )


if __name__ == "__main__":
    main()
