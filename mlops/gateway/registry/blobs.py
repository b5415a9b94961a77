"""Layers fetched, whole or in parts, and deleted."""

from __future__ import annotations

from mlops.gateway.registry.failures import unknown_blob, unsupported
from mlops.gateway.registry.ranges import range_to_send
from mlops.gateway.registry.request import RegistryRequest
from mlops.gateway.s3.answers import FileBody, Response
from mlops.services.ecr import Registry


def send(registry: Registry, request: RegistryRequest) -> Response:
    """``GET`` and ``HEAD``."""
    digest = request.digest()
    size = registry.layers.size(request.name, digest)
    if size is None:
        raise unknown_blob()
    headers = {
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "Accept-Ranges": "bytes",
        "ETag": f'"{digest}"',
    }
    wanted = range_to_send(request.headers.get("range"), size)
    file = registry.layers.open(digest)
    if wanted is None:
        return Response(200, headers, FileBody(file, 0, size))
    first, last = wanted
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(206, headers, FileBody(file, first, last - first + 1))


def delete(registry: Registry, request: RegistryRequest) -> Response:
    digest = request.digest()
    if registry.layers.size(request.name, digest) is None:
        raise unknown_blob()
    if not registry.layers.delete(request.name, digest):
        raise unsupported("An image has this layer: it goes with the last image that has it")
    return Response(202)
