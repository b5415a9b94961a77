"""A job's request that reads files of the working tree in the place of its own code files.

The job's input that has a file of the name is copied, with the new file in it, below the job's own
prefix; the request then reads the copy. A source archive (``sagemaker_submit_directory``) is packed
anew.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path, PurePosixPath

from mlops.errors import StoreError, UsageError
from mlops.execution.object_names import names_below
from mlops.ports import JsonObject, ObjectStore
from mlops.s3_uri import split_s3_uri

SOURCE = "sagemaker_submit_directory"
"""The hyperparameter that holds the address of a source archive, as JSON (SDK v2)."""


def with_code(
    objects: ObjectStore, request: JsonObject, prefix: str, files: Sequence[Path]
) -> JsonObject:
    """`request`, in which `files` stand for the code files of the same name.

    Raises:
        UsageError: a file is not there, or the job reads none of its name.
    """
    changed: JsonObject = deepcopy(request)
    for number, file in enumerate(files):
        if not file.is_file():
            raise UsageError("The code file does not exist", where=str(file))
        place = f"{prefix}/code/{number}"
        replaced = [_replace_in(objects, source, place, file) for source in _sources(changed)]
        replaced.append(_replace_in_archive(objects, changed, place, file))
        if not any(replaced):
            names = sorted(set(_names(objects, changed)))
            raise UsageError(
                f"The job reads no file {file.name}",
                where=str(file),
                next_step=f"it reads: {', '.join(names[:20]) or 'none'}",
            )
    return changed


def _sources(request: JsonObject) -> Iterator[JsonObject]:
    """The members of the request that hold the ``S3Uri`` of an input."""
    for each in request.get("ProcessingInputs", ()):
        yield each.get("S3Input", {})
    for each in request.get("InputDataConfig", ()):
        yield each.get("DataSource", {}).get("S3DataSource", {})


def _replace_in(objects: ObjectStore, source: JsonObject, place: str, file: Path) -> bool:
    if source.get("S3DataType") != "S3Prefix":
        return False
    bucket, key = split_s3_uri(source["S3Uri"])
    found = _below(objects, bucket, key)
    if file.name not in {PurePosixPath(name).name for _, name in found}:
        return False
    name_of_source = PurePosixPath(key).name or "input"
    target, start = split_s3_uri(f"{place}/{name_of_source}")
    alone = [each for each, _ in found] == [key]
    for each, name in found:
        new = start if alone else f"{start}/{name}"
        if PurePosixPath(name).name == file.name:
            objects.put(target, new, file.read_bytes())
        else:
            with objects.open(bucket, each) as content:
                objects.put(target, new, content)
    source["S3Uri"] = f"s3://{target}/{start}"
    return True


def _replace_in_archive(objects: ObjectStore, request: JsonObject, place: str, file: Path) -> bool:
    uri = _archive_of(request)
    if uri is None:
        return False
    packed, hit = io.BytesIO(), False
    bucket, key = split_s3_uri(uri)
    with (
        objects.open(bucket, key) as content,
        tarfile.open(fileobj=content, mode="r:*") as old,
        tarfile.open(fileobj=packed, mode="w:gz") as new,
    ):
        for member in old.getmembers():
            data = old.extractfile(member) if member.isfile() else None
            if data is not None and PurePosixPath(member.name).name == file.name:
                text, hit = file.read_bytes(), True
                member.size, data = len(text), io.BytesIO(text)
            new.addfile(member, data)
    if hit:
        target, start = split_s3_uri(f"{place}/{PurePosixPath(key).name}")
        objects.put(target, start, packed.getvalue())
        request["HyperParameters"][SOURCE] = json.dumps(f"s3://{target}/{start}")
    return hit


def _archive_of(request: JsonObject) -> str | None:
    text = str(request.get("HyperParameters", {}).get(SOURCE, "")).strip('"')
    return text if text.startswith("s3://") else None


def _names(objects: ObjectStore, request: JsonObject) -> Iterator[str]:
    for source in _sources(request):
        if source.get("S3DataType") == "S3Prefix":
            found = _below(objects, *split_s3_uri(source["S3Uri"]))
            yield from (PurePosixPath(name).name for _, name in found)
    uri = _archive_of(request)
    if uri is not None:
        with (
            objects.open(*split_s3_uri(uri)) as content,
            tarfile.open(fileobj=content, mode="r:*") as archive,
        ):
            yield from (PurePosixPath(member.name).name for member in archive if member.isfile())


def _below(objects: ObjectStore, bucket: str, key: str) -> list[tuple[str, str]]:
    try:
        return list(names_below(key, [info.key for info in objects.list(bucket, key)]))
    except StoreError:
        return []
