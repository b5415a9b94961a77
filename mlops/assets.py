"""What a pipeline's definition refers to in S3 and what lies on this disk: an upload as a value.

An asset's key holds a checksum of its content, so that the same content has the same URI in every
clone and account, a changed file never hides behind yesterday's URI (SageMaker's step cache looks
at URIs, not at contents), and an object that is there already need not be sent again.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE_ARCHIVE = "sourcedir.tar.gz"
"""The name that the SageMaker SDK and the training toolkit give a packed `source_dir`."""

_NOT_SOURCE = ("__pycache__",)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file, or some bytes, and the object that it becomes.

    ``origin`` says where a file comes from that a person has to fetch.
    """

    bucket: str
    key: str
    source: Path | bytes
    origin: str | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def checksum(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_files(folder: Path) -> dict[str, Path]:
    """The files below `folder` by their relative POSIX names, in order, without byte code."""
    return {
        file.relative_to(folder).as_posix(): file
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not any(part in _NOT_SOURCE for part in file.parts)
    }


def source_checksum(files: Mapping[str, Path]) -> str:
    """A SHA-256 over names and contents: equal wherever the files lie and whoever packs them."""
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(f"{name}\0{checksum(file)}\n".encode())
    return digest.hexdigest()


def pack_source(files: Mapping[str, Path]) -> bytes:
    """Pack a `source_dir` as the SDK would, with nothing in it that changes by time or user."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, file in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = file.stat().st_size
            entry.mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
            with file.open("rb") as content:
                archive.addfile(entry, content)
    return packed.getvalue()
