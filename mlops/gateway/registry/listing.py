"""What there is: that it is a registry, its repositories, a repository's tags."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from urllib.parse import urlencode

from mlops.gateway.registry.request import RegistryRequest
from mlops.gateway.s3.answers import Response
from mlops.services.ecr import Registry


def base(registry: Registry, request: RegistryRequest) -> Response:
    return _json({})


def catalog(registry: Registry, request: RegistryRequest) -> Response:
    names, link = _page((each.name for each in registry.repositories.list()), request, "_catalog")
    return _json({"repositories": names}, link)


def tags(registry: Registry, request: RegistryRequest) -> Response:
    names, link = _page(registry.images.tags(request.name), request, f"{request.name}/tags/list")
    return _json({"name": request.name, "tags": names}, link)


def _page(
    names: Iterable[str], request: RegistryRequest, place: str
) -> tuple[list[str], Mapping[str, str]]:
    """The names of one page in order, and the Link header to the next."""
    count, last = request.page()
    left = sorted(name for name in names if name > last)
    found = left[:count]
    if not found or len(left) <= count:
        return found, {}
    query = urlencode({"n": count, "last": found[-1]})
    return found, {"Link": f'</v2/{place}?{query}>; rel="next"'}


def _json(document: object, headers: Mapping[str, str] | None = None) -> Response:
    data = json.dumps(document).encode()
    return Response(200, {"Content-Type": "application/json", **(headers or {})}, data)
