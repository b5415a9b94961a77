"""Which Linux namespaces this machine lets us have, and why not more."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mlops.errors import RuntimeUnavailable
from mlops.runtimes.layout import remove_tree

SUPERVISOR = Path(__file__).with_name("supervisor.py")
_PROBE = "probe-"


class Isolation(StrEnum):
    """How far a job is by itself."""

    ROOT = "root"
    """A mount namespace, taken as root."""
    USER = "user"
    """A mount namespace inside a user namespace, taken as anybody."""
    NONE = "none"
    """No namespace: the rule in `process_plain` applies."""


@dataclass(frozen=True, slots=True)
class Namespaces:
    """What a probe found. `reason` says why there is none; `overlay_problem` why no overlayfs."""

    isolation: Isolation
    reason: str = ""
    overlay_problem: str | None = None


def refuse_unless_linux(platform: str = sys.platform) -> None:
    """Raise RuntimeUnavailable where jobs cannot be processes at all: macOS has no namespaces."""
    if platform != "linux":
        raise RuntimeUnavailable(
            f"Jobs as processes need Linux; this is {platform}",
            next_step="start Docker and run with --runtime docker",
        )


def probe_namespaces(folder: Path) -> Namespaces:
    """Try out namespaces and overlayfs in `folder` (the disk matters), in a process of its own.

    Takes some 30 ms; leaves nothing behind.

    Raises:
        RuntimeUnavailable: this is no Linux.
    """
    refuse_unless_linux()
    folder.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    place = Path(tempfile.mkdtemp(prefix=f"{_PROBE}{os.getpid()}-", dir=folder))
    try:
        answer = subprocess.run(
            [sys.executable, "-I", "-S", str(SUPERVISOR), "probe", str(place)],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    finally:
        remove_tree(place)
    found = dict(line.partition("=")[::2] for line in answer.stdout.splitlines())
    if "isolation" not in found:
        return Namespaces(Isolation.NONE, f"the probe failed: {answer.stderr.strip()[-300:]}")
    isolation = Isolation(found["isolation"])
    if isolation is Isolation.NONE:
        return Namespaces(isolation, f"{found['reason']} ({cause_of_refusal()})")
    overlay = found["overlay"]
    return Namespaces(isolation, overlay_problem=None if overlay == "ok" else overlay)


def _remove_abandoned(folder: Path) -> None:
    """Remove what a process has left that was killed while it probed."""
    for place in folder.glob(f"{_PROBE}*"):
        owner = place.name.removeprefix(_PROBE).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            with suppress(FileNotFoundError):  # another one removes it, too
                remove_tree(place)


_SWITCHES = (
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces is 0"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone is 0"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "AppArmor restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns is 1)",
    ),
)


def cause_of_refusal() -> str:
    """The most likely cause of a refusal, from what the kernel tells about itself."""
    for switch, refusing, cause in _SWITCHES:
        if _read(switch).strip() == refusing:
            return cause
    status = dict(line.partition(":")[::2] for line in _read("/proc/self/status").splitlines())
    if status.get("Seccomp", "").strip() == "2":
        return "a seccomp filter refuses them, as Docker's default profile does"
    return "the kernel gives no cause"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
