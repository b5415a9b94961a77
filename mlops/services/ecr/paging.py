"""`services.paging` under ECR's names: ``nextToken``, ``maxResults``, up to 100 unless told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services import paging
from mlops.services.ecr.failures import invalid

Item = TypeVar("Item")


def page(
    items: Sequence[Item], request: JsonObject, identity: Callable[[Item], str]
) -> tuple[Sequence[Item], str | None]:
    """One page of `items`, and the token of the next.

    Raises:
        ServiceError: ``InvalidParameterException`` for a token of another request, or none of ours.
    """
    asked = {name: value for name, value in request.items() if name not in _NAMES}
    asked |= {other: request[name] for name, other in _NAMES.items() if name in request}
    try:
        return paging.page(items, asked, identity)
    except ServiceError as error:
        raise invalid(error.what) from error


_NAMES = {"nextToken": "NextToken", "maxResults": "MaxResults"}
