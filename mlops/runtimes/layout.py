"""Where things are for a job: paths below `/opt/ml`, and the folders behind them on the host."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from mlops.errors import DiskFull, JobError, MlopsError
from mlops.ports import JobSpec, Mount

OPT_ML = "/opt/ml"


def inside(folder: Path, target: str) -> Path:
    """The host path in `folder` (the job's `/opt/ml`) that stands for `target`.

    Raises:
        JobError: `target` is not a clean path below `/opt/ml`.
    """
    path = PurePosixPath(target)
    if not path.is_relative_to(OPT_ML) or ".." in path.parts or str(path) == OPT_ML:
        raise JobError(
            f"A job's files are mounted below {OPT_ML}, not at {target!r}",
            next_step=f"give a path such as {OPT_ML}/processing/input/data",
        )
    return folder / path.relative_to(OPT_ML)


def prepare(job: JobSpec) -> tuple[Mount, ...]:
    """Make the job's mount points and its log's folder; return the mounts, outer ones first.

    The mount points are made here, not by an engine, so that they belong to the caller. A mount
    point within another mount is left to that mount.

    Raises:
        JobError: a source is missing, or a target is no path below `/opt/ml`.
        DiskFull: nothing can be written.
    """
    mounts = tuple(sorted(job.mounts, key=lambda mount: len(PurePosixPath(mount.target).parts)))
    try:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        for index, mount in enumerate(mounts):
            point = inside(job.folder, mount.target)
            if not mount.source.exists():
                raise JobError(
                    f"The source of {mount.target} does not exist",
                    where=str(mount.source),
                    next_step="check the input's S3Uri",
                )
            if not any(_covers(outer, mount) for outer in mounts[:index]):
                make_mount_point(point, mount.source.is_dir())
    except OSError as error:
        raise os_error(error, f"The folder of job {job.name} cannot be prepared") from error
    return mounts


def _covers(outer: Mount, inner: Mount) -> bool:
    return PurePosixPath(inner.target).is_relative_to(outer.target)


def make_mount_point(point: Path, folder: bool) -> None:
    """Make an empty folder or file to mount on, where there is none."""
    if folder:
        point.mkdir(parents=True, exist_ok=True)
    else:
        point.parent.mkdir(parents=True, exist_ok=True)
        point.touch()


def os_error(error: OSError, what: str, *, place: Path | None = None) -> MlopsError:
    """`error` in this project's terms: DiskFull where that is the cause, else JobError.

    It happened where the error says, or at `place` where it does not.
    """
    where = str(error.filename or place or "") or None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"{what}: no space left on the disk", where=where, next_step="free some disk space"
        )
    return JobError(f"{what}: {error.strerror or error}", where=where)


def remove_tree(folder: Path) -> None:
    """Remove a folder, also where a job has locked itself out of a part of it.

    Raises:
        OSError: something in it belongs to another user.
    """
    entries = _entries(folder)
    if entries is None:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            remove_tree(Path(entry.path))
        else:
            Path(entry.path).unlink(missing_ok=True)
    folder.rmdir()


def _entries(folder: Path) -> list[os.DirEntry[str]] | None:
    """What is in a folder, unlocked if need be; None when it is gone instead."""
    try:
        if os.access(folder, os.W_OK | os.X_OK):
            return list(os.scandir(folder))
    except PermissionError:
        pass
    try:
        folder.rmdir()  # an overlay's work folder is root's, locked and empty: this is enough
    except OSError:
        folder.chmod(stat.S_IRWXU)
        return list(os.scandir(folder))
    return None
