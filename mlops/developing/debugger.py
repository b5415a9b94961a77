"""A job whose Python code waits for a debugger: ``python -m debugpy --listen … --wait-for-client``.

debugpy comes from this environment. A container sees it below ``/opt/ml``; its compiled part is
optional, so another Python version will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from mlops.developing.inside import ADDRESS, Change, Inside
from mlops.errors import EnvironmentLacks, UsageError
from mlops.ports import JobSpec, Mount, MountMode, RunningServer

PLACE = "/opt/ml/mlops-debugger"
_PYTHON = re.compile(r"(.*/)?python(\d+(\.\d+)?)?")
_OPTION = re.compile(r"-[bBdEiIOPqsSuvVx]+")  # of the interpreter, without a value
_DEBUGPY = f"-m debugpy --listen {ADDRESS} --wait-for-client"


def debugged(*, in_containers: bool, say: Callable[[str], None]) -> Change:
    """What lets a job wait for a debugger; `say` is told where.

    Raises:
        EnvironmentLacks: this environment has no debugpy.
    """
    package = _package()
    mount = Mount(package, f"{PLACE}/{package.name}", MountMode.READ_ONLY)

    def attend(server: RunningServer) -> None:
        say(f"waiting for a debugger at {server.address} (debugpy: attach, host and port)")

    def change(job: JobSpec) -> Inside:
        variables = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        if in_containers:
            before = job.environment.get("PYTHONPATH")
            variables["PYTHONPATH"] = ":".join([PLACE, *([before] if before else [])])
        return Inside(
            command=debug_command([*job.command, *job.arguments]),
            attend=attend,
            mounts=(mount,) if in_containers else (),
            environment=variables,
        )

    return change


def debug_command(words: Sequence[str]) -> tuple[str, ...]:
    """The command line that starts `words` under debugpy.

    Raises:
        UsageError: they start no Python code.
    """
    if words and _PYTHON.fullmatch(words[0]):
        count = 1
        while count < len(words) and _OPTION.fullmatch(words[count]):
            count += 1
        if count < len(words):
            options = " ".join(words[1:count])
            # The shell knows the address only in there; the words reach it as they are.
            text = f'python="$1"; shift; exec "$python" {options} {_DEBUGPY} "$@"'
            return ("sh", "-c", text, "debug", words[0], *words[count:])
    if tuple(words) == ("train",):
        text = f'exec python3 {_DEBUGPY} "$(command -v train)"'
        return ("sh", "-c", text, "debug")
    raise UsageError(
        f"The step's command is no Python program: {' '.join(words) or 'that of its image'}",
        next_step="`mlops step --shell` opens a shell in its place",
    )


def _package() -> Path:
    found = find_spec("debugpy")
    if found is None or found.origin is None:
        raise EnvironmentLacks(
            "There is no debugger in this environment",
            next_step="pip install debugpy, into the environment that mlops is in",
        )
    return Path(found.origin).parent
