"""Durations as ``CacheConfig.ExpireAfter`` writes them.

ISO 8601 durations, as "Turn on step caching" of SageMaker's documentation and the SDK's
``CacheConfig`` show them: ``P30D``, but also without the P and in lower case: ``30d``, ``5y``,
``T16m``, ``30dT5h``. An ``m`` before the ``T`` is a month, after it a minute.
"""

from __future__ import annotations

import re
from datetime import timedelta

_DURATION = re.compile(
    r"P?(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?"
    r"(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.IGNORECASE | re.ASCII,
)
_DAYS = {"years": 365, "months": 30, "weeks": 7, "days": 1}
LONGEST = timedelta(days=365 * 1000)
"""Whatever is longer never ends in practice, and does not fit the arithmetic of dates."""


def parse_duration(text: str) -> timedelta:
    """The length of a duration; a year counts 365 days, a month 30.

    Raises:
        ValueError: it is no duration, or an empty one such as ``P``.
    """
    found = _DURATION.fullmatch(text)
    given = (
        {name: int(value) for name, value in found.groupdict().items() if value} if found else {}
    )
    if not given:
        raise ValueError(
            f"{text!r} is no duration: write days, hours or minutes as in 'P30D', 'PT5H' or 'T16m'"
        )
    days = sum(given.pop(name, 0) * length for name, length in _DAYS.items())
    seconds = given.get("hours", 0) * 3600 + given.get("minutes", 0) * 60 + given.get("seconds", 0)
    if days + seconds // 86400 >= LONGEST.days:
        return LONGEST
    return timedelta(days=days, seconds=seconds)
