"""Whose the files are that a job leaves: the caller's, always."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


def hand_over(places: Sequence[Path], give: Callable[[list[Path]], None]) -> None:
    """Make everything in `places` the caller's. `give` does it where that takes a helper.

    Raises:
        OSError: a place cannot be read, or not be given.
    """
    foreign = [place for place in places if place.exists() and not _is_the_callers(place)]
    if not foreign:
        return
    if os.geteuid() != 0:
        give(foreign)
        return
    for folder in foreign:
        for path in _everything(folder):
            os.lchown(path, os.geteuid(), os.getegid())


def _is_the_callers(folder: Path) -> bool:
    """Whether everything in `folder` is the caller's; what cannot be looked into is not."""
    try:
        return all(os.lstat(path).st_uid == os.geteuid() for path in _everything(folder))
    except PermissionError:
        return False


def _everything(folder: Path) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise error

    if not folder.is_dir():
        yield str(folder)
        return
    for place, folders, files in os.walk(folder, onerror=refuse):
        yield from (f"{place}/{name}" for name in (*folders, *files))
