"""The code of functions that come as a zip: checked, kept, and laid out for their runtime.

Kept below ``<functions>/<name>/code/<digest>/``: the zip itself and the folder it unpacks to. A
version's folder is never written to again, so that workers of the former version go on beside it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from mlops.errors import DiskFull, NoSuchBucket, NoSuchKey, StoreError
from mlops.functions.refusals import invalid
from mlops.ports import JsonObject, ObjectStore

MAXIMUM_ZIP = 50 * 1024 * 1024
"""Bytes of a zip that comes within a request (AWS's documentation, "Lambda quotas")."""
MAXIMUM_UNZIPPED = 262_144_000
_BAD_ZIP = "Could not unzip uploaded file. Please check your file, then try to upload again."


@dataclass(frozen=True, slots=True)
class StoredCode:
    """A zip as it is kept."""

    sha256: str
    """Base64, as ``CodeSha256`` has it."""
    size: int
    digest: str

    @classmethod
    def of(cls, content: bytes) -> StoredCode:
        digest = hashlib.sha256(content)
        text = base64.b64encode(digest.digest()).decode()
        return cls(text, len(content), digest.hexdigest()[:16])


def fetch_zip(code: JsonObject, objects: ObjectStore) -> bytes:
    """The bytes that FunctionCode (or UpdateFunctionCode) means.

    Raises:
        ServiceError: ``InvalidParameterValueException``, in the service's words.
    """
    given = code.get("ZipFile")
    if given is not None:
        content = bytes(given)
        if len(content) > MAXIMUM_ZIP:
            raise invalid(f"Zip file must be smaller than {MAXIMUM_ZIP} bytes; send it through S3")
        return content
    if "S3Bucket" not in code or "S3Key" not in code:
        raise invalid("Please provide a source for function code.")
    if "S3ObjectVersion" in code:
        raise invalid("S3ObjectVersion is not supported by the local gateway: it keeps no versions")
    try:
        with objects.open(code["S3Bucket"], code["S3Key"]) as body:
            return body.read()
    except (NoSuchBucket, NoSuchKey) as error:
        kind = type(error).__name__
        raise invalid(
            f"Error occurred while GetObject. S3 Error Code: {kind}. S3 Error Message: {error.what}"
        ) from error


def store_zip(content: bytes, folder: Path) -> StoredCode:
    """Keep a zip below `folder`, and unpack it there.

    Raises:
        ServiceError: it is no zip, too large, or has an entry that would lie elsewhere.
        DiskFull, StoreError: it cannot be written.
    """
    code = StoredCode.of(content)
    place = folder / code.digest
    if place.is_dir():
        return code
    with _opened(content) as archive:
        members = _checked(archive)
        new = folder / f"{code.digest}.{uuid4().hex[:8]}"
        try:
            _unpack(archive, members, new / "task")
            (new / "code.zip").write_bytes(content)
            new.rename(place)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            if place.is_dir():
                return code  # somebody else has stored the same meanwhile
            kind = DiskFull if error.errno == 28 else StoreError
            raise kind(f"The function's code cannot be kept: {error}", where=str(folder)) from error
    return code


def task_folder(folder: Path, digest: str) -> Path:
    """Where the code of a kept zip is."""
    return folder / digest / "task"


def _opened(content: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile as error:
        raise invalid(_BAD_ZIP) from error


def _checked(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    for member in members:
        path = PurePosixPath(member.filename)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if path.is_absolute() or ".." in path.parts or kind == stat.S_IFLNK:
            raise invalid(f"{_BAD_ZIP} (its entry {member.filename!r} may not be)")
    if sum(member.file_size for member in members) > MAXIMUM_UNZIPPED:
        raise invalid(f"Unzipped size must be smaller than {MAXIMUM_UNZIPPED} bytes")
    return members


def _unpack(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> None:
    folder.mkdir(parents=True)
    left = MAXIMUM_UNZIPPED  # what a header says of its size need not be so
    for member in members:
        target = folder / member.filename
        if member.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with archive.open(member) as source:
                content = source.read(left + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise invalid(_BAD_ZIP) from error
        left -= len(content)
        target.write_bytes(content)
        # Readable by all, and executable where it was: a function runs as some user or other.
        target.chmod(0o755 if (member.external_attr >> 16) & stat.S_IXUSR else 0o644)
