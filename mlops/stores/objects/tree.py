"""The bucket's folder as a sorted set of keys: find, walk, place and remove files.

Nothing here knows metadata. Names follow `mlops.stores.objects.keys`. Only regular files that are
reached without a symbolic link are objects: a link in a job's output must not open the host's
files to whoever reads the bucket.

Readers take no lock. Every change, and every reading of one folder's names, happens under the
store's lock, so that a list does not miss a file that moves aside while its folder is read.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mlops.errors import InvalidKey, StoreError
from mlops.stores.objects.keys import ASIDE, PIECE, is_ordinary, names_of, path_of, raw_of

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Found:
    """One step of a walk: a file with its key, or, without a path, a common prefix."""

    key: str
    path: str | None


_Entry: TypeAlias = tuple[bytes, "os.DirEntry[str]"]
"""What lies in a folder, with its order among the others: its segment, with a slash for a folder,
since the keys of a folder go on with one."""


class BucketTree:
    """The files of one bucket. The folder exists; `lock` is the store's."""

    def __init__(self, folder: str, lock: AbstractContextManager[object], *, folding: bool) -> None:
        self._folder = folder
        self._lock = lock
        self._folding = folding

    def paths(self, key: str) -> tuple[str, str]:
        """Where the file of `key` may lie: its plain place first, then the one aside."""
        return self._path(key, aside=False), self._path(key, aside=True)

    def _path(self, key: str, *, aside: bool) -> str:
        names = path_of(key, aside=aside, folding=self._folding)
        return os.path.join(self._folder, *names)  # noqa: PTH118  pathlib costs more than the stat

    def open(self, key: str) -> int | None:
        """A descriptor of the file that holds `key`, or None when there is none."""
        descriptor = self._open_any(key)
        if descriptor is None:
            with self._lock:  # it may have moved between the two places meanwhile
                descriptor = self._open_any(key)
        return descriptor

    def _open_any(self, key: str) -> int | None:
        for path in self.paths(key):
            descriptor = self._open_regular(path)
            if descriptor is not None:
                return descriptor
        return None

    def _open_regular(self, path: str) -> int | None:
        if self._leaves(path):
            return None
        try:
            descriptor = os.open(path, _OPEN_FLAGS)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise _translated(error, path) from error
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def _leaves(self, path: str) -> bool:
        """Whether a symbolic link on the way leads elsewhere (links are made by hand only)."""
        folder = os.path.dirname(path)  # noqa: PTH120
        return folder != self._folder and os.path.realpath(folder) != folder

    def find(self, key: str) -> str | None:
        """The path of the file that holds `key`, or None."""
        path = self._find_any(key)
        if path is None:
            with self._lock:  # as in `open`
                path = self._find_any(key)
        return path

    def _find_any(self, key: str) -> str | None:
        for path in self.paths(key):
            with suppress(OSError):
                if stat.S_ISREG(os.lstat(path).st_mode) and not self._leaves(path):
                    return path
        return None

    # --- Changes: the caller holds the lock ---

    def place(self, source: str, key: str) -> str:
        """Rename `source` to where `key` belongs; the one moment in which it becomes visible."""
        plain, aside = self.paths(key)
        try:
            self._make_parents(plain)
            target = plain if self._is_free_for_file(plain) else aside
            if target is aside:
                self._make_parents(aside)
            os.replace(source, target)  # noqa: PTH105
        except OSError as error:
            raise _translated(error, plain) from error
        if target is plain:
            _remove_file(aside)  # from a time when the folder of the same name existed
        return target

    def remove(self, key: str) -> bool:
        """Remove the file of `key` and the folders that it leaves empty; whether there was one."""
        plain, aside = self.paths(key)
        # The one aside first: removed last, it would come back to life for a moment.
        removed = [path for path in (aside, plain) if not self._leaves(path) and _remove_file(path)]
        for path in removed:
            self._prune(os.path.dirname(path))  # noqa: PTH120
        return bool(removed)

    def remove_empty_folders(self) -> bool:
        """Remove the bucket's folder when nothing but empty folders is in it."""
        for folder, _, _ in os.walk(self._folder, topdown=False):
            try:
                os.rmdir(folder)  # noqa: PTH106
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                    return False
                raise _translated(error, folder) from error
        return True

    def _make_parents(self, path: str) -> None:
        missing = []
        folder = os.path.dirname(path)  # noqa: PTH120
        if self._leaves(path):
            raise InvalidKey(
                "A symbolic link is in the way of this key: the store does not write through it",
                where=path,
                next_step="replace the link by a folder",
            )
        while not os.path.isdir(folder):  # noqa: PTH112
            missing.append(folder)
            folder = os.path.dirname(folder)  # noqa: PTH120
        for folder in reversed(missing):
            if os.path.lexists(folder):
                self._move_aside(folder)
            os.mkdir(folder)  # noqa: PTH102

    def _move_aside(self, path: str) -> None:
        """Make room for a folder where a file is: key `a` stays readable when `a/b` comes.

        There is a moment with the file aside and no folder yet: readers look in both places.
        """
        parent, name = os.path.split(path)
        segment = None if name.startswith(PIECE) else self._segment_of(parent, name)
        if segment is None or not stat.S_ISREG(os.lstat(path).st_mode):
            raise InvalidKey("Something that is no object is in the way of this key", where=path)
        start = self._start_of_segment(parent)
        names = names_of(segment, aside=True, folding=self._folding)
        target = os.path.join(start, *names)  # noqa: PTH118
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        os.replace(path, target)  # noqa: PTH105

    def _start_of_segment(self, parent: str) -> str:
        while os.path.basename(parent).startswith(PIECE) and parent != self._folder:  # noqa: PTH119
            parent = os.path.dirname(parent)  # noqa: PTH120
        return parent

    def _segment_of(self, parent: str, name: str) -> str | None:
        raw = raw_of(name)
        start = self._start_of_segment(parent)
        while parent != start:
            parent, piece = os.path.split(parent)
            raw = raw_of(piece) + raw
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return None

    def _is_free_for_file(self, path: str) -> bool:
        try:
            os.rmdir(path)  # noqa: PTH106  an empty folder is nobody's
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                return True
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                return False
            raise
        return True

    def _prune(self, folder: str) -> None:
        while folder != self._folder:
            try:
                os.rmdir(folder)  # noqa: PTH106
            except OSError:
                return  # not empty, or mounted somewhere: an empty folder does no harm
            folder = os.path.dirname(folder)  # noqa: PTH120

    # --- Walks ---

    def walk(self, prefix: str = "", after: str = "", *, collapse: bool = False) -> Iterator[Found]:
        """Every key that starts with `prefix` and is greater than `after`, in order of its bytes.

        With `collapse`, keys that share what comes up to the first slash after the prefix count
        as one common prefix, given once and only when it is greater than `after` itself.
        """
        first, beyond = prefix.encode(), after.encode()
        stack = [(b"", self._entries_after(self._folder, b"", beyond))]
        while stack:
            base, entries = stack[-1]
            order, entry = next(entries, (b"", None))
            if entry is None:
                stack.pop()
                continue
            key = base + order
            if not order.endswith(b"/"):
                if key.startswith(first) and key > beyond:
                    yield Found(key.decode(), entry.path)
            elif not _may_hold(key, first, beyond):
                continue
            elif collapse and len(key) > len(first):
                if key > beyond and self._holds_objects(entry.path):
                    yield Found(key.decode(), None)
            else:
                stack.append((key, self._entries_after(entry.path, key, beyond)))

    def _entries_after(self, folder: str, base: bytes, beyond: bytes) -> Iterator[_Entry]:
        """The entries whose keys can be greater than `beyond`: pages of a large folder are many."""
        entries = self._entries(folder)
        if not beyond.startswith(base):
            return iter(entries)
        rest = beyond[len(base) :]
        start = bisect_left(entries, rest, key=_order)
        if start and rest.startswith(entries[start - 1][0]):
            start -= 1  # the folder that `beyond` itself lies in
        return iter(entries[start:])

    def plain_folder(self, prefix: str) -> Path | None:
        """The folder that holds exactly the objects below `prefix`, under their own names."""
        segments = prefix.removesuffix("/").split("/") if prefix.removesuffix("/") else []
        if not all(is_ordinary(segment, self._folding) for segment in segments):
            return None
        folder = os.path.join(self._folder, *segments)  # noqa: PTH118
        if os.path.realpath(folder) != folder:
            return None
        with self._lock:
            return Path(folder) if self._is_plain(folder) else None

    def has_siblings(self, prefix: str) -> bool:
        """Whether keys begin with `prefix` that are neither it nor below it as a folder."""
        above, _, last = os.path.join(self._folder, prefix).rpartition("/")  # noqa: PTH118
        start = last.encode()
        return any(
            order.startswith(start)
            and order.removesuffix(b"/") != start
            and (not order.endswith(b"/") or self._holds_objects(entry.path))
            for order, entry in self._entries(above)
        )

    def _is_plain(self, folder: str) -> bool:
        """Whether only objects under their own names are in `folder`, and at least one."""
        count, todo = 0, [folder]
        try:
            while todo:
                with os.scandir(todo.pop()) as entries:
                    for entry in entries:
                        if not _is_utf8(entry.name) or not is_ordinary(entry.name, self._folding):
                            return False
                        if entry.is_dir(follow_symlinks=False):
                            todo.append(entry.path)
                        elif entry.is_file(follow_symlinks=False):
                            count += 1
                        else:
                            return False
        except (FileNotFoundError, NotADirectoryError):
            return False
        return count > 0

    def _holds_objects(self, folder: str) -> bool:
        todo = [folder]
        while todo:
            for order, entry in self._entries(todo.pop()):
                if not order.endswith(b"/"):
                    return True
                todo.append(entry.path)
        return False

    def _entries(self, folder: str) -> list[_Entry]:
        """What lies in one folder, in the order of the keys; a segment in pieces is joined.

        Written for folders of 100,000 files: an ordinary name costs a microsecond.
        """
        found: dict[bytes, os.DirEntry[str]] = {}
        with self._lock:
            for order, entry in self._scan(folder):
                present = found.get(order)
                if present is None or present.name.startswith(ASIDE):
                    found[order] = entry
        return sorted(found.items(), key=_order)

    def _scan(self, folder: str) -> Iterator[_Entry]:
        for entry in _listed(folder):
            name = entry.name
            if name.startswith("%") or self._folding:
                yield from self._escaped(entry, (), b"")
                continue
            try:
                raw = name.encode()
            except UnicodeEncodeError:
                continue  # a name made by hand in another encoding has no key
            if entry.is_file(follow_symlinks=False):
                yield raw, entry
            elif entry.is_dir(follow_symlinks=False):
                yield raw + b"/", entry

    def _escaped(
        self, entry: os.DirEntry[str], pieces: tuple[str, ...], raw: bytes
    ) -> Iterator[_Entry]:
        """What one name that may be escaped stands for; several, when it is a segment's piece."""
        is_folder = entry.is_dir(follow_symlinks=False)
        if not (is_folder or entry.is_file(follow_symlinks=False)) or not _is_utf8(entry.name):
            return
        names, segment = (*pieces, entry.name), raw + raw_of(entry.name)
        if is_folder and entry.name.startswith(PIECE):
            for below in _listed(entry.path):
                yield from self._escaped(below, names, segment)
        elif self._is_own_name(names, segment, is_folder):
            yield (segment + b"/" if is_folder else segment), entry

    def _is_own_name(self, names: tuple[str, ...], segment: bytes, is_folder: bool) -> bool:
        """Whether the escape scheme writes `segment` as `names`: else it is no object."""
        aside = names[-1].startswith(ASIDE)
        if aside and is_folder:
            return False
        try:
            text = segment.decode()
        except UnicodeDecodeError:
            return False
        return "/" not in text and names_of(text, aside=aside, folding=self._folding) == names


def _order(entry: _Entry) -> bytes:
    return entry[0]


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []  # removed meanwhile


def _may_hold(folder_key: bytes, prefix: bytes, after: bytes) -> bool:
    """Whether keys below a folder can start with `prefix` and be greater than `after`."""
    if not (folder_key.startswith(prefix) or prefix.startswith(folder_key)):
        return False
    return folder_key > after or after.startswith(folder_key)


def _is_utf8(name: str) -> bool:
    """False for a name made by hand in another encoding: it has no key."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _remove_file(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        os.unlink(path)  # noqa: PTH108
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise _translated(error, path) from error
    return True


def _translated(error: OSError, path: str) -> OSError | StoreError:
    """A path too long for this machine is the key's fault; all else stays what it is."""
    if error.errno == errno.ENAMETOOLONG:
        return InvalidKey(
            "The key's path is too long for this file system",
            where=path[:120] + "…",
            next_step="choose a shorter key, or a state folder nearer to the root",
        )
    return error
