"""S3 addresses in one piece."""

from __future__ import annotations

from mlops.errors import InvalidKey


def split_s3_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``. A key may hold any character, ``?`` and ``#`` too.

    Raises:
        InvalidKey: it is another kind of address.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise InvalidKey(f"{uri!r} is no S3 address", next_step="write it as s3://bucket/key")
    return bucket, key
