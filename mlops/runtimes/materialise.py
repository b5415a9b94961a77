"""Mounts without a mount: copies and links in the job's folder.

For jobs that run without a mount namespace, and for the fake. A copy shares its blocks with the
source where the file system can do that (reflink), so that it costs nothing there.
"""

from __future__ import annotations

import fcntl
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from mlops.ports import Mount, MountMode
from mlops.runtimes.layout import inside, make_mount_point, remove_tree

_FICLONE = 0x40049409  # linux/fs.h


def materialise(folder: Path, mounts: Iterable[Mount]) -> None:
    """Put every mount into `folder`: READ_WRITE as a link to the source, the others as a copy.

    The job can write to a copy even where it should be read-only: what counts is that the source
    stays as it is.

    Raises:
        OSError: nothing can be read or written.
    """
    for mount in mounts:
        point = inside(folder, mount.target)
        _clear(point)
        point.parent.mkdir(parents=True, exist_ok=True)
        if mount.mode is MountMode.READ_WRITE:
            point.symlink_to(mount.source.absolute())
        elif mount.source.is_dir():
            copy_tree(mount.source, point)
        else:
            copy_file(mount.source, point)


def dematerialise(folder: Path, mounts: Iterable[Mount]) -> None:
    """Take every mount out again and leave an empty mount point, as a real mount would."""
    for mount in reversed(tuple(mounts)):
        point = inside(folder, mount.target)
        _clear(point)
        make_mount_point(point, mount.source.is_dir())


def _clear(point: Path) -> None:
    if point.is_symlink() or point.is_file():
        point.unlink()
    elif point.exists():
        remove_tree(point)


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder, symbolic links as they are.

    Raises:
        OSError: the first one (shutil.copytree would go on, and hide its cause).
    """
    target.mkdir(parents=True)
    for entry in source.iterdir():
        place = target / entry.name
        if entry.is_symlink():
            place.symlink_to(entry.readlink())
        elif entry.is_dir():
            copy_tree(entry, place)
        else:
            copy_file(entry, place)


def copy_file(source: str | Path, target: str | Path) -> str:
    """Copy a file with its permissions and times, as a reflink where the disk knows them."""
    with Path(source).open("rb") as reader, Path(target).open("wb") as writer:
        try:
            fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
        except OSError:  # this file system has no reflinks: the bytes themselves
            shutil.copyfileobj(reader, writer, 1 << 20)
    with suppress(PermissionError):
        shutil.copystat(source, target)
    Path(target).chmod(Path(target).stat().st_mode | stat.S_IWUSR)
    return str(target)
