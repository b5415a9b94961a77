"""Which bytes, and whether at all: conditional requests and ranges (RFC 9110). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from mlops.gateway.s3.answers import S3Error, not_implemented
from mlops.stores.objects.model import (
    NO_CONDITIONS,
    StoredObject,
    WriteConditions,
    precondition_failed,
)

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def write_conditions(headers: Mapping[str, str]) -> WriteConditions:
    """If-Match and If-None-Match of a write.

    Raises:
        ServiceError: NotImplemented for an If-None-Match other than ``*``, as S3 answers.
    """
    if_match, if_none_match = headers.get("if-match"), headers.get("if-none-match")
    if if_none_match is not None and if_none_match.strip() != "*":
        raise not_implemented("If-None-Match with an ETag on a write")
    if if_match is None and if_none_match is None:
        return NO_CONDITIONS
    return WriteConditions(
        if_match=None if if_match is None else _bare(if_match),
        if_none_match=if_none_match is not None,
    )


def check_read(headers: Mapping[str, str], stored: StoredObject, *, prefix: str = "") -> bool:
    """Whether to send the object; False means 304 Not Modified.

    `prefix` is ``x-amz-copy-source-`` for the source of a copy, where 304 becomes 412.

    Raises:
        ServiceError: PreconditionFailed.
    """
    if_match = headers.get(f"{prefix}if-match")
    if if_match is not None:
        if not _matches(if_match, stored.etag):
            raise precondition_failed("If-Match")
    else:
        limit = _moment(headers.get(f"{prefix}if-unmodified-since"))
        if limit is not None and _seconds(stored) > limit:
            raise precondition_failed("If-Unmodified-Since")
    if_none_match = headers.get(f"{prefix}if-none-match")
    if if_none_match is not None:
        is_fresh = not _matches(if_none_match, stored.etag)
    else:
        since = _moment(headers.get(f"{prefix}if-modified-since"))
        is_fresh = since is None or _seconds(stored) > since
    if not is_fresh and prefix:
        raise precondition_failed("x-amz-copy-source-if-none-match")
    return is_fresh


def range_of(headers: Mapping[str, str], stored: StoredObject) -> tuple[int, int] | None:
    """First and last byte that are asked for; None for the whole object.

    As in S3 a range that cannot be read, or several, count as none.

    Raises:
        ServiceError: InvalidRange, nothing of the range is there.
    """
    text, condition = headers.get("range"), headers.get("if-range")
    if text is None or (condition is not None and not _still_holds(condition, stored)):
        return None
    found = _RANGE.fullmatch(text.strip())
    return resolve_range(found[1], found[2], stored.size) if found else None


def resolve_range(first: str, last: str, size: int) -> tuple[int, int] | None:
    if not first and not last:
        return None
    if not first:
        length = int(last)
        if length == 0 or size == 0:
            raise _invalid_range(size)
        return max(size - length, 0), size - 1
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise _invalid_range(size)
    return start, end


def _invalid_range(size: int) -> S3Error:
    return S3Error(
        "InvalidRange",
        "The requested range is not satisfiable",
        status=416,
        headers={"Content-Range": f"bytes */{size}"},
    )


def _still_holds(condition: str, stored: StoredObject) -> bool:
    moment = _moment(condition)
    return _matches(condition, stored.etag) if moment is None else _seconds(stored) <= moment


def _matches(header: str, etag: str) -> bool:
    wanted = {_bare(tag) for tag in header.split(",")}
    return "*" in wanted or etag in wanted


def _bare(etag: str) -> str:
    return etag.strip().removeprefix("W/").strip('"')


def _moment(text: str | None) -> datetime | None:
    """A header that is no date counts as absent (RFC 9110, 13.1.3)."""
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _seconds(stored: StoredObject) -> datetime:
    """The time as headers tell it: whole seconds."""
    return stored.last_modified.replace(microsecond=0)
