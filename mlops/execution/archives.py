"""``model.tar.gz`` and ``output.tar.gz``, and the walk over a job's result folder.

A job may leave symbolic links. One that stays below ``/opt/ml`` counts as what it points to (in
an archive, a link inside the archived folder stays a link); one that leads anywhere else is
refused, since on this machine it would name a file of the host.
"""

from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlops.errors import JobError
from mlops.execution.opt_ml import BASE

GZIP_LEVEL = 1  # weights hardly compress: level 1 is three times as fast as 6 for 2% in size


class UnsafeLink(JobError):
    """A symbolic link that leads out of the job's folder."""


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file of a result folder: its name within it and the file that has the bytes."""

    name: str
    file: Path
    linked: bool
    """True when the name, or a folder in it, is a symbolic link: the file has another name."""


def walk_files(folder: Path, base: Path) -> Iterator[Found]:
    """Every regular file below `folder` in the order of the names; `base` is ``/opt/ml``.

    Sockets, pipes and devices hold nothing to keep and are passed over.

    Raises:
        UnsafeLink: a link (`folder` itself included) that leads out of `base`, or in a circle.
    """
    if folder.is_dir():
        yield from _Walk(base.resolve()).below(_root(folder, base), "", frozenset(), linked=False)


def _root(folder: Path, base: Path) -> Path:
    root = folder.resolve()
    if not root.is_relative_to(base.resolve()):
        raise UnsafeLink(f"{folder.name} has become a symbolic link to {root}, out of {BASE}")
    return root


class _Walk:
    def __init__(self, base: Path) -> None:
        self._base = base

    def below(
        self, folder: Path, prefix: str, inside: frozenset[Path], *, linked: bool
    ) -> Iterator[Found]:
        for entry in _entries(folder):
            name, path, is_link = prefix + entry.name, Path(entry.path), entry.is_symlink()
            if is_link:
                path = resolve_link(path, self._base)
            if path.is_dir():
                if is_link and path in inside:
                    raise UnsafeLink(f"{name} is a symbolic link to a folder that holds it")
                within = inside | {path.resolve()}
                yield from self.below(path, name + "/", within, linked=linked or is_link)
            elif path.is_file():
                yield Found(name, path, linked or is_link)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    return sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))


def resolve_link(link: Path, base: Path) -> Path:
    """What a job's symbolic link points to, on this machine.

    Raises:
        UnsafeLink: it leads out of `base`, or to nothing.
    """
    target = os.readlink(link)  # noqa: PTH115 - Path.readlink drops a trailing slash
    pure = PurePosixPath(target)
    if pure.is_absolute() and pure.is_relative_to(BASE):
        place = base / pure.relative_to(BASE)  # the job's own view of its folder
    else:
        place = link.parent / target
    try:
        resolved = place.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        lost = f"{link.name} is a symbolic link to {target}, which is not there"
        raise UnsafeLink(lost) from error
    if not resolved.is_relative_to(base):
        raise UnsafeLink(f"{link.name} is a symbolic link to {target}, which is not below {BASE}")
    return resolved


def pack(folder: Path, base: Path, archive: Path) -> None:
    """Write `folder`'s contents, without the folder itself, as a .tar.gz at `archive`.

    The members come in the order of their names, so that the same files give the same archive.
    A folder that does not exist counts as empty.

    Raises:
        UnsafeLink: a symbolic link (`folder` itself included) that leads out of `base`.
    """
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        if folder.is_dir():
            root = _root(folder, base)
            _add_folder(tar, root, root, base.resolve(), "")


def _add_folder(tar: tarfile.TarFile, folder: Path, root: Path, base: Path, prefix: str) -> None:
    for entry in _entries(folder):
        path, name = Path(entry.path), prefix + entry.name
        if entry.is_symlink():
            _add_link(tar, path, root, base, name)
        elif entry.is_dir():
            _add_entry(tar, path, name)
            _add_folder(tar, path, root, base, name + "/")
        elif entry.is_file():
            _add_entry(tar, path, name)


def _add_link(tar: tarfile.TarFile, link: Path, root: Path, base: Path, name: str) -> None:
    target = resolve_link(link, base)
    if target.is_relative_to(root):
        member = tarfile.TarInfo(name)
        member.type = tarfile.SYMTYPE
        member.linkname = os.path.relpath(target, link.parent.resolve())
        tar.addfile(member)
    elif target.is_file():
        _add_entry(tar, target, name)
    else:
        for found in walk_files(target, base):
            _add_entry(tar, found.file, f"{name}/{found.name}")


def _add_entry(tar: tarfile.TarFile, path: Path, name: str) -> None:
    member = tar.gettarinfo(path, name)
    member.uid = member.gid = 0  # whoever unpacks it owns it
    member.uname = member.gname = ""
    if member.isreg():
        with path.open("rb") as file:
            tar.addfile(member, file)
    else:
        tar.addfile(member)
