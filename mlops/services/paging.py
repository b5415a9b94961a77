"""Lists in pages: filters and orders that List operations share, and their NextToken.

A token is opaque to clients. It carries where the page ended, and a digest of the request that it
belongs to: the same token with other filters is refused, as the services do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from mlops.json_text import parse_json
from mlops.ports import JsonObject
from mlops.services.validation import invalid

DEFAULT_PAGE = 100
"""MaxResults when none is given: the model's maximum. The service model states no default, and
SDK v2's ``execution.list_steps()`` reads one page only."""

Item = TypeVar("Item")


def page_size(request: JsonObject) -> int:
    return int(request.get("MaxResults", DEFAULT_PAGE))


def page(
    items: Sequence[Item], request: JsonObject, identity: Callable[[Item], str]
) -> tuple[Sequence[Item], str | None]:
    """One page of `items` and the token of the next, None at the end.

    The next page begins after the item that ended the last one, wherever it is by then: what is
    added or deleted meanwhile makes no item appear twice.
    """
    state = read_token(request)
    begin = 0
    if state is not None:
        ends = (at for at, item in enumerate(items, 1) if identity(item) == state["after"])
        begin = next(ends, state["offset"])
    end = begin + page_size(request)
    found = items[begin:end]
    if end >= len(items):
        return found, None
    return found, make_token(request, {"after": identity(found[-1]), "offset": end})


def make_token(request: JsonObject, state: JsonObject) -> str:
    text = json.dumps({"request": _digest(request), "state": state})
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_token(request: JsonObject) -> Any:
    """The state in the request's NextToken, or None where it has none.

    Raises:
        ServiceError: ``ValidationException``: no token of ours, or one of another request.
    """
    token = request.get("NextToken")
    if not token:
        return None
    try:
        content = parse_json(base64.urlsafe_b64decode(token.encode()))
        digest, state = content["request"], content["state"]
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise invalid("The NextToken is not valid") from error
    if digest != _digest(request):
        raise invalid("The NextToken is of a request with other filters: repeat the same request")
    return state


def _digest(request: JsonObject) -> str:
    filters = {k: v for k, v in request.items() if k not in ("NextToken", "MaxResults")}
    return hashlib.sha256(json.dumps(filters, sort_keys=True).encode()).hexdigest()[:16]


def moment(value: float | str | None) -> datetime | None:
    """A timestamp of a request: epoch seconds in the JSON protocol, or ISO 8601."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError as error:
            raise invalid(f"'{value}' is no timestamp") from error
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return datetime.fromtimestamp(value, UTC)


def between(at: datetime, after: float | str | None, before: float | str | None) -> bool:
    """Whether a moment lies inside the bounds of a list request."""
    lower, upper = moment(after), moment(before)
    return (lower is None or at > lower) and (upper is None or at < upper)


def ordered(
    items: Sequence[Item],
    request: JsonObject,
    keys: dict[str, Callable[[Item], Any]],
    *,
    newest_first: bool = False,
) -> Sequence[Item]:
    """`items`, which come oldest first, by SortBy (`keys`; default CreationTime) and SortOrder."""
    sort_by = request.get("SortBy", "CreationTime")
    descending = request.get("SortOrder", "Descending" if newest_first else "Ascending")
    result = list(items)
    if sort_by in keys:
        result.sort(key=keys[sort_by])
    return result[::-1] if descending == "Descending" else result
