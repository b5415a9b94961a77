"""Which file holds a key: the escape scheme of the object store. Pure.

An ordinary key is the plain path below the bucket's folder: ``input/train/train.csv`` lies at
``<root>/<bucket>/input/train/train.csv``. A file system cannot hold every key so (S3 keys are any
1 to 1,024 bytes of UTF-8), so each segment between slashes has a *name*:

====================================  ==========================================================
segment                               name
====================================  ==========================================================
ordinary                              itself
empty (``a/``, ``/a``, ``a//b``)      ``%~``
``.`` and ``..``                      ``%~.`` and ``%~..``: a key never climbs out of its bucket
has NUL, or begins with a marker      ``%~`` and its UTF-8 bytes, percent-encoded
longer than 255 bytes                 80-byte pieces: folders ``%+piece``, the last ``%~piece``
a file where the folder `a/` exists   ``%=a`` (keys ``a`` and ``a/b`` both exist)
====================================  ==========================================================

Percent-encoding leaves ``a-z A-Z 0-9 _ . - ~`` alone and writes every other byte as ``%`` and two
lower-case hexadecimal digits. ``%`` elsewhere in a name means nothing: ``a%20b`` is ordinary.

On a file system that folds names (``A`` and ``a``, or two Unicode forms, are one file) only
segments of lower-case ASCII are ordinary, and capitals are percent-encoded too: two keys never
share a file, at the price that keys with capitals are not plain files there.

A name that this scheme would not write (``%~abc``, where ``abc`` is ordinary) belongs to no key.
"""

from __future__ import annotations

import re
import string
from urllib.parse import unquote_to_bytes

from mlops.errors import InvalidKey

WHOLE = "%~"
PIECE = "%+"
ASIDE = "%="
_MARKERS = (WHOLE, PIECE, ASIDE)

MAX_KEY_BYTES = 1024
"""S3's limit: docs "Naming Amazon S3 objects", key length."""
_MAX_NAME_BYTES = 255
_PIECE_BYTES = 80  # three characters a byte and the marker stay below 255

_SAFE = frozenset((string.ascii_letters + string.digits + "_.-~").encode())
_SAFE_FOLDED = frozenset((string.ascii_lowercase + string.digits + "_.-~").encode())

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")
_IP_ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")


def check_bucket(bucket: str) -> str:
    """Return `bucket` when S3 would take it as a name.

    Rules: S3 documentation, "General purpose bucket naming rules".

    Raises:
        InvalidKey: S3 would refuse the name (which no folder outside the store's own passes).
    """
    if not _BUCKET.fullmatch(bucket) or _IP_ADDRESS.fullmatch(bucket):
        raise InvalidKey(
            f"The bucket name {bucket!r} is not valid",
            next_step="use 3 to 63 lower-case letters, digits, hyphens and single dots,"
            " with a letter or digit at both ends",
        )
    return bucket


def check_key(key: str) -> str:
    """Return `key` when it is one.

    Raises:
        InvalidKey: it is empty, longer than 1,024 bytes, or no UTF-8 text.
    """
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidKey(f"The object key {key!r} is not UTF-8 text") from error
    if not 0 < length <= MAX_KEY_BYTES:
        raise InvalidKey(
            f"The object key has {length:,} bytes; S3 takes 1 to {MAX_KEY_BYTES:,}",
            where=f"{key[:80]}…" if length else None,
            next_step="choose a shorter key" if length else "give the object a key",
        )
    return key


def is_ordinary(segment: str, folding: bool = False) -> bool:
    """Whether the segment's name is the segment itself."""
    if segment in ("", ".", "..") or segment.startswith(_MARKERS) or "\0" in segment:
        return False
    if folding and not (segment.isascii() and segment == segment.lower()):
        return False
    return len(segment.encode()) <= _MAX_NAME_BYTES


def names_of(segment: str, *, aside: bool = False, folding: bool = False) -> tuple[str, ...]:
    """The path components that stand for one segment; `aside` for a file beside its folder."""
    if not aside and is_ordinary(segment, folding):
        return (segment,)
    marker = ASIDE if aside else WHOLE
    raw = segment.encode()
    quoted = _quote(raw, folding)
    if len(marker) + len(quoted) <= _MAX_NAME_BYTES:
        return (marker + quoted,)
    pieces = [raw[at : at + _PIECE_BYTES] for at in range(0, len(raw), _PIECE_BYTES)]
    folders = [PIECE + _quote(piece, folding) for piece in pieces[:-1]]
    return (*folders, marker + _quote(pieces[-1], folding))


def path_of(key: str, *, aside: bool = False, folding: bool = False) -> tuple[str, ...]:
    """The path components of a whole key below its bucket's folder.

    No component is ``.``, ``..``, empty, or has a slash or NUL.
    """
    *folders, last = check_key(key).split("/")
    names: list[str] = []
    for segment in folders:
        names += names_of(segment, folding=folding)
    return (*names, *names_of(last, aside=aside, folding=folding))


def raw_of(name: str) -> bytes:
    """The bytes that one name stands for, its marker taken off."""
    return unquote_to_bytes(name[2:]) if name.startswith(_MARKERS) else name.encode()


def _quote(raw: bytes, folding: bool) -> str:
    safe = _SAFE_FOLDED if folding else _SAFE
    return "".join(chr(byte) if byte in safe else f"%{byte:02x}" for byte in raw)
