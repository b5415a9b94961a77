"""A job's mounts as Docker takes them, copy-on-write included.

The cheap way to copy on write is an overlay that the engine itself mounts: an anonymous volume of
the `local` driver, made with the container and removed with it. It needs an engine on this host
and a kernel that takes the disk; the first refusal settles the matter, and inputs are copied.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlops.ports import Mount, MountMode
from mlops.runtimes.layout import OPT_ML
from mlops.runtimes.materialise import copy_file, copy_tree


def bind(source: Path, target: str, *, read_only: bool = False) -> dict[str, Any]:
    """A bind mount in the terms of the engine's API; it refuses a source that it cannot see."""
    return {
        "Type": "bind",
        "Source": str(source.resolve()),
        "Target": target,
        "ReadOnly": read_only,
    }


def docker_mounts(
    folder: Path, mounts: Sequence[Mount], scratch: Path, *, overlay: bool
) -> list[dict[str, Any]]:
    """Every mount of a job whose `/opt/ml` is `folder`; `scratch` takes what the job changes.

    Raises:
        OSError: nothing can be written.
    """
    return [
        bind(folder, OPT_ML),
        *(
            _mount(mount, scratch / str(index), overlay=overlay)
            for index, mount in enumerate(mounts)
        ),
    ]


def _mount(mount: Mount, scratch: Path, *, overlay: bool) -> dict[str, Any]:
    if mount.mode is not MountMode.COPY_ON_WRITE:
        return bind(mount.source, mount.target, read_only=mount.mode is MountMode.READ_ONLY)
    scratch.mkdir(parents=True)
    if not mount.source.is_dir():
        # An overlay is a folder, and a volume mounts whole.
        copy = Path(copy_file(mount.source, scratch / "copy"))
        return bind(copy, mount.target)
    if overlay and not set(str(scratch)) & set(',:\\"'):
        return _overlay_volume(mount, scratch)
    copy_tree(mount.source, scratch / "copy")
    return bind(scratch / "copy", mount.target)


def _overlay_volume(mount: Mount, scratch: Path) -> dict[str, Any]:
    for name in ("upper", "work"):
        (scratch / name).mkdir()
    # The source's own path may hold what the options cannot (commas, colons); a link's does not.
    (scratch / "lower").symlink_to(mount.source.resolve())
    options = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
    if os.geteuid() == 0:
        # No sync at the end. It leaves files of root's, which only root can remove.
        options = f"volatile,{options}"
    return {
        "Type": "volume",
        "Target": mount.target,
        "VolumeOptions": {
            "NoCopy": True,
            "DriverConfig": {
                "Name": "local",
                "Options": {"type": "overlay", "device": "overlay", "o": options},
            },
        },
    }
