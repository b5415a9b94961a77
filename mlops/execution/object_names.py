"""Which objects an S3 address of a job means, and which file each becomes: pure functions.

``S3Prefix``: every object whose key begins with the address' key (botocore sagemaker
``S3DataSource``), so siblings that share it as text (``data/train.csv`` of ``data/train``) come
along. ``ManifestFile``: the objects that a JSON file lists (the same shape's documentation).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from mlops.errors import InvalidKey
from mlops.execution.failures import StepFailure
from mlops.s3_uri import split_s3_uri


def names_below(prefix: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Keys that start with `prefix`, each with its file name in the container.

    Objects below the prefix as a folder keep their names below it. Any other counts from the last
    slash within the prefix: the object of just that key, and those that the prefix cuts through
    (``data/tr`` of ``data/train/a.csv``). Keys that end in a slash are the consoles' marks for
    folders and hold nothing.
    """
    folder = prefix if not prefix or prefix.endswith("/") else prefix + "/"
    cut = len(prefix.rpartition("/")[0] + "/") if "/" in prefix else 0
    for key in keys:
        if key and not key.endswith("/"):
            name = key[len(folder) :] if key.startswith(folder) else key[cut:]
            yield key, safe_name(name, key)


def safe_name(name: str, key: str) -> str:
    """`name` as a path below an input's folder.

    Raises:
        StepFailure: it would leave the folder.
    """
    parts = [part for part in name.split("/") if part]
    if not parts or any(part in (".", "..") or "\0" in part for part in parts):
        raise StepFailure(
            f"ClientError: Data download failed: the object key {key!r} cannot be a file name"
        )
    return "/".join(parts)


def objects_in_manifest(text: str, uri: str) -> tuple[str, list[tuple[str, str]]]:
    """The bucket of a manifest's objects, and the key of each with its file name.

    The manifest is ``[{"prefix": "s3://bucket/some/"}, "relative/a", …]``; files keep their names
    below the prefix. `uri` is the manifest's own, for messages.

    Raises:
        StepFailure: it is no such manifest.
    """
    first, *others = _entries(text, uri)
    prefix = first.get("prefix") if isinstance(first, dict) else None
    if not isinstance(prefix, str) or not others:
        raise _no_manifest(uri, 'its first element must be {"prefix": "s3://…"}, files must follow')
    if not all(isinstance(each, str) and each for each in others):
        raise _no_manifest(uri, "every element after the first must be a name below the prefix")
    try:
        bucket, start = split_s3_uri(prefix)
    except InvalidKey as error:
        raise _no_manifest(uri, f"its prefix {prefix!r} is no S3 address") from error
    return bucket, [(start + name, safe_name(name, start + name)) for name in others]


def _entries(text: str, uri: str) -> list[Any]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise _no_manifest(uri, f"it is no JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise _no_manifest(uri, "it must be a JSON array")
    return entries


def _no_manifest(uri: str, reason: str) -> StepFailure:
    return StepFailure(f"ClientError: {uri} is not a valid manifest file: {reason}")


def no_objects(uri: str) -> str:
    """The service's words for an S3 prefix that holds nothing."""
    bucket, _ = split_s3_uri(uri)
    return (
        f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure '
        f'that the bucket "{bucket}" exists and that objects exist under that S3 prefix.'
    )
