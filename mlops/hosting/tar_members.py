"""One member of an untrusted tar archive, written below a folder or refused.

``tarfile``'s data filter decides. Python 3.11.0 to 3.11.3 (Debian 12 has 3.11.2) come without it:
there the same rules are kept here (https://docs.python.org/3/library/tarfile.html#tarfile.data_filter).
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

_HAS_FILTER = hasattr(tarfile, "data_filter")


class Refused(Exception):
    """A member that would leave the folder, or is no file, folder or link."""


def extract(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Write `member` below `folder`.

    Raises:
        Refused: it may not be written; nothing is.
        OSError: it cannot be written.
    """
    if not _HAS_FILTER:
        tar.extract(checked(member, folder), folder)
        return
    try:
        tar.extract(member, folder, filter="data")
    except tarfile.FilterError as error:
        raise Refused(str(error)) from error


def checked(member: tarfile.TarInfo, folder: Path) -> tarfile.TarInfo:
    """The member as the data filter would let it through: its place, kind, owner and mode.

    Raises:
        Refused: the filter would refuse it.
    """
    member.name = member.name.lstrip("/")
    root = os.path.realpath(folder)
    place = os.path.realpath(Path(root, member.name))
    _check_inside(place, root, f"{member.name!r} would be extracted to {place!r}")
    if member.issym() or member.islnk():
        if os.path.isabs(member.linkname):  # noqa: PTH117 - a name in an archive
            raise Refused(f"{member.name!r} is a link to an absolute path")
        start = Path(root, member.name).parent if member.issym() else Path(root)
        target = os.path.realpath(start / member.linkname)
        _check_inside(target, root, f"{member.name!r} would link to {target!r}")
    elif not member.isreg() and not member.isdir():
        raise Refused(f"{member.name!r} is a special file")
    # No set-uid bits, no writing by others; the owner can always read, write and list.
    member.mode = 0o755 if member.isdir() else (member.mode & 0o755) | 0o600
    member.uid, member.gid, member.uname, member.gname = os.geteuid(), os.getegid(), "", ""
    return member


def _check_inside(path: str, root: str, problem: str) -> None:
    if os.path.commonpath([path, root]) != root:
        raise Refused(f"{problem}, which is outside the destination")
