"""The error boundary: every error ends in one message and its exit code, never in a traceback."""

import errno

import click
import pytest

from mlops.cli.main import COMMANDS, cli, main
from mlops.cli.run import parse_parameters
from mlops.errors import DataError, ExecutionFailed, GatewayUnavailable, UsageError


@pytest.fixture
def planted(monkeypatch):
    """Plant a command that raises what it is given."""

    def plant(error):
        @click.command()
        def command():
            raise error

        monkeypatch.setattr(cli, "get_command", lambda context, name: command)

    return plant


def code_of(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    return exit_.value.code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("no rows", where="a.csv", next_step="add rows"), 2, "no rows"),
        (GatewayUnavailable("no gateway"), 3, "no gateway"),
        (ExecutionFailed("it failed"), 1, "it failed"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 3, "The disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 3, "/x"),
        (RuntimeError("a bug"), 1, "a fault in mlops itself"),
    ],
)
def test_an_error_ends_in_its_code_and_one_message(planted, capsys, error, code, words):
    planted(error)
    assert code_of("run") == code
    shown = capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown


def test_a_message_tells_what_where_and_the_next_step(planted, capsys):
    planted(DataError("no rows", where="a.csv", next_step="add rows"))
    code_of("run")
    assert capsys.readouterr().err == "error: no rows\n  where: a.csv\n  next:  add rows\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["run", "--nonsense"], ["clean", "x", "y"]])
def test_wrong_usage_is_2(arguments):
    assert code_of(*arguments) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_help(name, capsys):
    assert code_of(name, "--help") == 0
    assert "Usage: mlops" in capsys.readouterr().out


def test_help_lists_every_command_with_a_sentence(capsys):
    assert code_of("--help") == 0
    shown = capsys.readouterr().out
    for name in COMMANDS:
        line = next(line for line in shown.splitlines() if line.strip().startswith(name))
        assert len(line.split()) > 3


def test_importing_the_command_imports_no_heavy_library():
    import subprocess
    import sys

    code = "import sys, mlops.cli.main; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for heavy in ("boto3", "botocore", "docker", "sagemaker", "tensorflow", "pandas", "numpy"):
        assert f"'{heavy}'" not in loaded, heavy


def test_parameters_are_names_and_values():
    assert parse_parameters(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}


@pytest.mark.parametrize("words", [["A"], ["=1"], ["A=1", "A=2"]])
def test_a_parameter_of_another_form_is_refused(words):
    with pytest.raises(UsageError):
        parse_parameters(words)
