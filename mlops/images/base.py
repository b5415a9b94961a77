"""The base that everything stands on, and how it was come by."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mlops.errors import DiskFull, ImageUnavailable
from mlops.images.engine import FULL, Engine, Progress

DEBIAN_IMAGE = "mlops-debian:bookworm"
"""The fall-back's name in the engine: made once, found again afterwards."""

DEBIAN_SUITE = "bookworm"  # its Python is 3.11, like the default base's
DEBIAN_PACKAGES = "python3,python3-pip,ca-certificates"
NOT_NEEDED = ("man", "doc", "locale", "info")
"""Folders of /usr/share that only readers need."""

MakeRoot = Callable[[Path, Progress], None]


def choose_base(
    engine: Engine,
    default: str,
    *,
    given: str | None,
    progress: Progress,
    make_root: MakeRoot | None = None,
) -> str:
    """The name of an image that the engine has: `given`, else `default`, else a Debian made here.

    Says through `progress` which one it is, and why.

    Raises:
        ImageUnavailable: `given` is not to be had; or neither a pull nor mmdebstrap works.
    """
    if given:
        return given_base(engine, given, progress)
    if engine.find(default):
        progress(f"base {default}: the engine has it")
        return default
    if engine.find(DEBIAN_IMAGE):
        progress(f"base {DEBIAN_IMAGE}: made here earlier, when {default} was not to be had")
        return DEBIAN_IMAGE
    try:
        engine.pull(default, progress)
    except ImageUnavailable as error:
        return debian_base(engine, error.what, progress, make_root or mmdebstrap)
    progress(f"base {default}: pulled")
    return default


def given_base(engine: Engine, given: str, progress: Progress) -> str:
    if engine.find(given):
        progress(f"base {given}: as given; the engine has it")
        return given
    try:
        engine.pull(given, progress)
    except ImageUnavailable as error:
        raise ImageUnavailable(
            f"The base image {given} is not in the engine. {error.what}",
            next_step="check its name, log in to its registry (docker login), or give no base",
        ) from error
    progress(f"base {given}: as given; pulled")
    return given


def debian_base(engine: Engine, why_not: str, progress: Progress, make_root: MakeRoot) -> str:
    progress(f"base {DEBIAN_IMAGE}: made from Debian's packages. {why_not}")
    with tempfile.TemporaryDirectory(prefix="mlops-base-") as folder:
        archive = Path(folder) / "root.tar"
        try:
            make_root(archive, progress)
        except ImageUnavailable as error:
            raise ImageUnavailable(
                f"There is no base image. {why_not}; and no Debian in its place: {error.what}",
                next_step=error.next_step,
            ) from error
        engine.import_root(archive, DEBIAN_IMAGE)
    return DEBIAN_IMAGE


def mmdebstrap_command(program: str, archive: Path) -> list[str]:
    leave_out = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in NOT_NEEDED]
    keep = "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    packages = f"--include={DEBIAN_PACKAGES}"
    return [program, "--variant=minbase", packages, *leave_out, keep, DEBIAN_SUITE, str(archive)]


def mmdebstrap(archive: Path, progress: Progress) -> None:
    """Write a tar of a small Debian with Python; as root, or as a user who may use namespaces."""
    program = shutil.which("mmdebstrap")
    if program is None:
        raise ImageUnavailable(
            "mmdebstrap is not installed",
            next_step="install it (Debian, Ubuntu: apt-get install mmdebstrap), or give a base: "
            "make images BASE_IMAGE=<an image with Python 3.11 and pip>",
        )
    run_shown(mmdebstrap_command(program, archive), progress)


def run_shown(command: Sequence[str], progress: Progress) -> None:
    """Run mmdebstrap, showing its steps ("I: …")."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    )
    lines: list[str] = []
    with process:
        for line in process.stderr or ():
            lines = [*lines, line.rstrip()][-10:]
            if line.startswith("I: "):
                progress(f"    {line[3:].rstrip()}")
    if not process.returncode:
        return
    output = "\n".join(f"  | {line}" for line in lines)
    if FULL in output.lower():
        raise DiskFull(
            "The base image could not be made: the disk is full",
            where=tempfile.gettempdir(),
            next_step="make room there, or set TMPDIR to another folder",
        )
    raise ImageUnavailable(
        f"mmdebstrap ended with status {process.returncode}\n{output}",
        next_step="run it as root, or check that a Debian mirror is reachable; or give a base: "
        "make images BASE_IMAGE=<an image with Python 3.11 and pip>",
    )
