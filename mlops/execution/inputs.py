"""What a job reads from S3, put where its container looks for it.

Where a folder of the store is the input, it is mounted copy-on-write: nothing is copied, and the
job may write without changing the store. Else the objects are linked into a folder that is mounted
so. Files are copied only where one input's or output's place lies within another's, and where what
the job writes among them is wanted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlops.errors import NoSuchBucket
from mlops.execution.failures import StepFailure
from mlops.execution.opt_ml import BASE
from mlops.ports import Mount, MountMode, ObjectStore
from mlops.s3_uri import split_s3_uri


@dataclass(frozen=True, slots=True)
class Input:
    """One S3 prefix (or object) and the container's folder that shows it."""

    name: str
    uri: str
    target: str
    """An absolute path below ``/opt/ml``."""
    kept: bool = False
    """True: what the job writes there counts, so the files are copied into its folder, and an
    empty prefix is an empty folder (checkpoints)."""


class InputStager:
    """Puts inputs in place for one job.

    ``folder`` becomes the job's ``/opt/ml``; ``scratch`` takes the links of objects that are no
    folder of the store, and must be on the store's disk to save the copies.
    """

    def __init__(self, objects: ObjectStore, folder: Path, scratch: Path) -> None:
        self._objects = objects
        self._folder = folder
        self._scratch = scratch

    def stage(self, inputs: Sequence[Input], other_places: Iterable[str] = ()) -> tuple[Mount, ...]:
        """Put every input in place; `other_places` are the outputs' container folders.

        Raises:
            StepFailure: an input's S3 prefix has no objects, or they cannot be files.
        """
        places = [*other_places, *(each.target for each in inputs)]
        mounts = []
        for number, each in enumerate(inputs):
            place = self._folder / PurePosixPath(each.target).relative_to(BASE)
            place.mkdir(parents=True, exist_ok=True)
            nested = sum(_nested(each.target, other) for other in places) > 1  # one is itself
            if nested or each.kept:
                self._fill(each, place, copy=True)
            else:
                mounts.append(self._mount(each, self._scratch / str(number)))
        return tuple(mounts)

    def _mount(self, each: Input, links: Path) -> Mount:
        bucket, key = split_s3_uri(each.uri)
        source = self._folder_of(bucket, key)
        if source is None:
            links.mkdir(parents=True)
            self._fill(each, links, copy=False)
            source = links
        return Mount(source, each.target, MountMode.COPY_ON_WRITE)

    def _folder_of(self, bucket: str, key: str) -> Path | None:
        try:
            return self._objects.folder_of(bucket, key)
        except NoSuchBucket:
            return None  # listing it says so in the service's words

    def _fill(self, each: Input, folder: Path, *, copy: bool) -> None:
        bucket, prefix = split_s3_uri(each.uri)
        found = False
        for key, name in self._objects_of(bucket, prefix):
            found = True
            self._place(self._objects.file_of(bucket, key), folder, name, each, copy=copy)
        if not found and not each.kept:
            raise StepFailure(f"ClientError: {no_objects(each.uri)}")

    def _objects_of(self, bucket: str, prefix: str) -> Iterator[tuple[str, str]]:
        try:
            keys = [info.key for info in self._objects.list(bucket, prefix)]
        except NoSuchBucket:
            return
        yield from names_below(prefix, keys)

    def _place(self, source: Path, folder: Path, name: str, each: Input, *, copy: bool) -> None:
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise FileExistsError
            _copy(source, target) if copy else _link(source, target)
        except (FileExistsError, NotADirectoryError) as error:
            raise StepFailure(
                f"ClientError: Data download failed: {each.uri} holds {name} both as an object "
                "and as a folder of objects, which cannot both be files"
            ) from error


def _nested(first: str, second: str) -> bool:
    one, other = PurePosixPath(first), PurePosixPath(second)
    return one.is_relative_to(other) or other.is_relative_to(one)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _link(source: Path, target: Path) -> None:
    # The folder of links is mounted copy-on-write, so that no job writes through a link.
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:  # another disk, or a file system without links
        _copy(source, target)


def no_objects(uri: str) -> str:
    """The service's words for an S3 prefix that holds nothing."""
    bucket, _ = split_s3_uri(uri)
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
        f'that the bucket "{bucket}" exists and that objects exist under that S3 prefix.'
    )


def names_below(prefix: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Keys that start with `prefix`, each with its file name in the container.

    An object of just that key is a file of its own name; objects below the prefix as a folder
    keep their names below it. Only where there are neither does the prefix cut through names
    (``data/tr`` of ``data/train/a.csv``), which then count from the last slash before the cut.
    Keys that end in a slash are the consoles' marks for folders and hold nothing.
    """
    folder = prefix if not prefix or prefix.endswith("/") else prefix + "/"
    exact = [(key, key.rpartition("/")[2]) for key in keys if key == prefix]
    below = [(key, key[len(folder) :]) for key in keys if key.startswith(folder)]
    cut = len(prefix.rpartition("/")[0] + "/") if "/" in prefix else 0
    chosen = exact + below or [(key, key[cut:]) for key in keys]
    for key, name in chosen:
        if key and not key.endswith("/"):
            yield key, _safe(name, key)


def _safe(name: str, key: str) -> str:
    parts = [part for part in name.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise StepFailure(
            f"ClientError: Data download failed: the object key {key!r} cannot be a file name"
        )
    return "/".join(parts)
