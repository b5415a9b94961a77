"""A model's files, put where its server looks for them: ``/opt/ml/model``.

An archive comes from a training job, or from anybody: its members may name any place, its links
may lead anywhere, and a few kilobytes may unpack to terabytes. Nothing leaves the model's folder
(``tar_members``), and what does not fit on the disk is refused before it is written.
"""

from __future__ import annotations

import errno
import gzip
import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from mlops.errors import DiskFull, InvalidKey, JobError, NoSuchBucket, NoSuchKey
from mlops.hosting.plan import ModelData
from mlops.hosting.tar_members import Refused, extract
from mlops.ports import ObjectStore
from mlops.s3_uri import split_s3_uri

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
MOST_FILES = 100_000
ROOM_LEFT_BYTES = 256 * 1024 * 1024
"""What unpacking leaves free on the disk: others write there, too."""


class BadModelData(JobError):
    """The model's data is not there, or is not what it should be."""


def place_model(objects: ObjectStore, data: ModelData | None, folder: Path) -> None:
    """Fill `folder`, which is made, with a model's files; without data it stays empty.

    Raises:
        BadModelData: the data is missing, is no archive, or holds what may not be unpacked.
        DiskFull: there is no room for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if data is None:
        return
    try:
        _place(objects, data, folder)
    except (NoSuchBucket, NoSuchKey) as error:
        raise _missing(data.uri) from error
    except InvalidKey as error:
        raise BadModelData(f"The model data's address is wrong: {error.what}") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(data.uri, folder) from error
        raise BadModelData(
            f"The model data {data.uri} cannot be put in place: {error.strerror or error}",
            where=str(error.filename or folder),
        ) from error


def _place(objects: ObjectStore, data: ModelData, folder: Path) -> None:
    bucket, key = split_s3_uri(data.uri)
    if data.kind == "archive":
        unpack(objects.file_of(bucket, key), folder, data.uri)
    elif data.kind == "object":
        name = key.rpartition("/")[2]
        shutil.copyfile(objects.file_of(bucket, key), folder / name)
    else:
        _copy_prefix(objects, bucket, key, folder, data.uri)


def _copy_prefix(objects: ObjectStore, bucket: str, prefix: str, folder: Path, uri: str) -> None:
    root = prefix if prefix.endswith("/") else f"{prefix}/"
    found = False
    for info in objects.list(bucket, root):
        name = info.key[len(root) :]
        if not name or name.endswith("/"):
            continue  # a console's mark for a folder
        parts = PurePosixPath(name).parts
        if any(part in ("..", "/") for part in parts):
            raise BadModelData(f"The model data {uri} holds the key {info.key!r}: it is no path")
        target = folder.joinpath(*parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(objects.file_of(bucket, info.key), target)
        found = True
    if not found:
        raise _missing(uri)


def unpack(archive: Path, folder: Path, name: str) -> None:
    """Unpack a (gzipped) tar archive into `folder`. `name` is what errors call it.

    Raises:
        BadModelData: it is damaged, or a member would leave the folder or is no file.
        DiskFull: it does not fit.
        OSError: a file cannot be written.
    """
    try:
        with _opened(archive) as stream, tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in _checked(tar, folder, name):
                extract(tar, member, folder)
            while stream.read(_CHUNK_BYTES):
                pass  # to the end, where gzip's checksum is
    except Refused as error:
        raise BadModelData(
            f"The model data {name} is refused: {error}",
            next_step="pack the model's folder itself, without links or paths that lead out of it",
        ) from error
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise BadModelData(
            f"The model data {name} is no sound tar.gz archive: {error}",
            next_step="pack the model's folder with: tar -czf model.tar.gz -C <folder> .",
        ) from error


def _opened(archive: Path) -> IO[bytes]:
    """The archive as tarfile takes it. Its own reading of gzip would check no checksum."""
    with archive.open("rb") as stream:
        zipped = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    return cast("IO[bytes]", gzip.open(archive)) if zipped else archive.open("rb")


def _checked(tar: tarfile.TarFile, folder: Path, name: str) -> Iterator[tarfile.TarInfo]:
    room = shutil.disk_usage(folder).free - ROOM_LEFT_BYTES
    for count, member in enumerate(tar, start=1):
        if count > MOST_FILES:
            raise BadModelData(f"The model data {name} holds more than {MOST_FILES:,} files")
        room -= member.size
        if room < 0:
            raise _full(name, folder)
        yield member


def _missing(uri: str) -> BadModelData:
    return BadModelData(
        f"Could not find model data at {uri}.",
        next_step="check the model's ModelDataUrl",
    )


def _full(name: str, folder: Path) -> DiskFull:
    return DiskFull(
        f"There is no room to unpack the model data {name}",
        where=str(folder),
        next_step="free some space ('mlops clean' removes old executions)",
    )
