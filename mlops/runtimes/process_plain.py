"""The rule for jobs that run without a mount namespace: no `/opt/ml` of their own.

Where namespaces are refused, a job's `/opt/ml` is just its folder on the host, and the job hears
of it in these ways only:

- `SAGEMAKER_BASE_DIR` is that folder. The `train` entry point takes it from there and gives the
  training script its `SM_*` variables below it.
- In the command, its arguments and the values of its environment, `/opt/ml` at the start of a
  path becomes that folder.

So a job runs only if its program asks for its folders in one of these ways. Which program that
is: the script that a Python interpreter or a shell is given, the text after `-c`, or the command
itself where it is a script. Its text must mention `SAGEMAKER_BASE_DIR` or an `SM_` variable
(`LAMBDA_TASK_ROOT` for what starts a Lambda function), and so must a training script where the
job's folder holds it. Anything else is refused before it
starts: it would find nothing at `/opt/ml`, or worse, another job's files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mlops.errors import RuntimeUnavailable
from mlops.ports import JobSpec
from mlops.runtimes.layout import OPT_ML

BASE_FOLDER_VARIABLE = "SAGEMAKER_BASE_DIR"

_ASKS_FOR_ITS_FOLDERS = re.compile(r"\bSAGEMAKER_BASE_DIR\b|\bSM_[A-Z]|\bLAMBDA_TASK_ROOT\b")
_OPT_ML_PATH = re.compile(rf"(?:(?<=[=:,;])|^){re.escape(OPT_ML)}(?=/|:|,|;|$)")
_INTERPRETER = re.compile(r"(python[\d.]*|(ba|da)?sh)$")
_REPACK_LAUNCHER = "_repack_script_launcher.sh"
"""Of the SDK's (sagemaker/workflow/_utils.py): what it starts has `/opt/ml` written into it."""
_SCRIPT_LIMIT = 1 << 20  # bytes of a file that are read in search of a variable


def rewrite(text: str, folder: Path) -> str:
    """`text` with every `/opt/ml` that starts a path replaced by the job's folder.

    >>> rewrite("--data=/opt/ml/input:/opt/mlx", Path("/job"))
    '--data=/job/input:/opt/mlx'
    """
    return _OPT_ML_PATH.sub(lambda _: str(folder), text)


def rewritten(argv: Sequence[str], folder: Path) -> tuple[str, ...]:
    """The command line as a job without `/opt/ml` gets it."""
    return tuple(rewrite(argument, folder) for argument in argv)


def check_runs_plain(job: JobSpec, search_path: str, reason: str) -> None:
    """Refuse a job that could not find its folders without `/opt/ml`.

    Raises:
        RuntimeUnavailable: the job's program does not ask for its folders; `reason` says why
            there is no namespace.
    """
    argv = (*job.command, *job.arguments)
    for text, where in _programs(job, argv, search_path):
        if text is None or not _ASKS_FOR_ITS_FOLDERS.search(text):
            raise RuntimeUnavailable(
                f"Job {job.name} needs its own {OPT_ML}, and this machine gives it none: {reason}",
                where=where,
                next_step=f"take the script's folders from {BASE_FOLDER_VARIABLE} or the SM_* "
                "variables, or run it where Docker or Linux namespaces are allowed "
                "(mlops doctor says what is missing)",
            )


def _programs(
    job: JobSpec, argv: tuple[str, ...], search_path: str
) -> Iterable[tuple[str | None, str]]:
    yield _program(job, argv, search_path)
    if _training_program(job) == _REPACK_LAUNCHER:
        yield None, _REPACK_LAUNCHER
    training_script = _training_script(job)
    if training_script is not None:
        yield _text(training_script), str(training_script)


def _program(job: JobSpec, argv: tuple[str, ...], search_path: str) -> tuple[str | None, str]:
    if not _INTERPRETER.search(PurePosixPath(argv[0]).name):
        found = shutil.which(rewrite(argv[0], job.folder), path=search_path)
        # A program that is not there is for the start to report.
        return (_text(Path(found)), found) if found else (BASE_FOLDER_VARIABLE, argv[0])
    for index, argument in enumerate(argv[1:], start=1):
        if argument in ("-c", "-lc", "-ec") and index + 1 < len(argv):
            return argv[index + 1], f"the text after {argument}"
        if argument == "-m":
            return None, " ".join(argv[index : index + 2])
        if not argument.startswith("-"):
            return _text(_host_path(job, argument)), argument
    return None, argv[0]


def _host_path(job: JobSpec, path: str) -> Path:
    """Where a path of the job is now, before its mounts are in place."""
    for mount in sorted(job.mounts, key=lambda mount: len(mount.target), reverse=True):
        if PurePosixPath(path).is_relative_to(mount.target):
            return mount.source / PurePosixPath(path).relative_to(mount.target)
    return Path(rewrite(path, job.folder))


def _training_script(job: JobSpec) -> Path | None:
    """The script that `train` will run, where it can be seen already (not in S3)."""
    program = _training_program(job)
    if program is None:
        return None
    for folder in (f"{OPT_ML}/code", f"{OPT_ML}/input/data/code"):
        script = _host_path(job, f"{folder}/{program}")
        if script.is_file():
            return script
    return None


def _training_program(job: JobSpec) -> str | None:
    try:
        text = (job.folder / "input/config/hyperparameters.json").read_text(encoding="utf-8")
        return str(json.loads(json.loads(text)["sagemaker_program"]))
    except (FileNotFoundError, KeyError, ValueError, TypeError):
        return None


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_SCRIPT_LIMIT).decode("utf-8", errors="replace")
    except OSError:
        return None


def plain_environment(environment: Mapping[str, str], folder: Path) -> dict[str, str]:
    """The environment with the job's folder in place of `/opt/ml`, and the variable for it."""
    values = {name: rewrite(value, folder) for name, value in environment.items()}
    return {BASE_FOLDER_VARIABLE: os.fspath(folder)} | values
