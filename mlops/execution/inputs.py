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
from itertools import islice
from pathlib import Path, PurePosixPath

from mlops.errors import NoSuchBucket, NoSuchKey
from mlops.execution.cluster import Share
from mlops.execution.failures import StepFailure
from mlops.execution.object_names import names_below, no_objects, objects_in_manifest
from mlops.execution.opt_ml import BASE
from mlops.ports import Mount, MountMode, ObjectStore
from mlops.s3_uri import split_s3_uri


@dataclass(frozen=True, slots=True)
class Input:
    """One S3 prefix, object or manifest, and the container's folder that shows its objects."""

    name: str
    uri: str
    target: str
    """An absolute path below ``/opt/ml``."""
    kept: bool = False
    """True: what the job writes there counts, so the files are copied into its folder, and an
    empty prefix is an empty folder (checkpoints)."""
    manifest: bool = False
    """True: the object at `uri` lists the objects."""
    share: Share | None = None
    """The part of the objects that this container gets; None for all."""


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
        source = self._folder_of(each)
        if source is None:
            links.mkdir(parents=True)
            self._fill(each, links, copy=False)
            source = links
        return Mount(source, each.target, MountMode.COPY_ON_WRITE)

    def _folder_of(self, each: Input) -> Path | None:
        if each.manifest or each.share is not None:
            return None
        try:
            return self._objects.folder_of(*split_s3_uri(each.uri))
        except NoSuchBucket:
            return None  # listing it says so in the service's words

    def _fill(self, each: Input, folder: Path, *, copy: bool) -> None:
        for source, name in self._files_of(each):
            self._place(source, folder, name, each, copy=copy)

    def _files_of(self, each: Input) -> Iterator[tuple[Path, str]]:
        bucket, chosen = objects_of(self._objects, each.uri, manifest=each.manifest)
        if not chosen and not each.kept:
            raise StepFailure(f"ClientError: {no_objects(each.uri)}")
        share = each.share or Share(0, 1)
        for key, name in islice(chosen, share.index, None, share.count):
            try:
                yield self._objects.file_of(bucket, key), name
            except (NoSuchBucket, NoSuchKey) as error:
                raise StepFailure(
                    f"ClientError: Data download failed: there is no s3://{bucket}/{key} "
                    f"(input {each.name!r}, {each.uri})"
                ) from error

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


def objects_of(
    objects: ObjectStore, uri: str, *, manifest: bool
) -> tuple[str, Sequence[tuple[str, str]]]:
    """The bucket of the objects that an address means, and each one's key and file name.

    None where nothing is there.

    Raises:
        StepFailure: the manifest is none, or a key cannot be a file name.
    """
    bucket, key = split_s3_uri(uri)
    try:
        if manifest:
            with objects.open(bucket, key) as file:
                text = file.read().decode("utf-8", "replace")
            return objects_in_manifest(text, uri)
        keys = [info.key for info in objects.list(bucket, key)]
    except (NoSuchBucket, NoSuchKey):
        return bucket, []
    return bucket, list(names_below(key, keys))


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
