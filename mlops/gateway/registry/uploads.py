"""Layers pushed: whole, in chunks, or taken from another repository."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.gateway.registry.failures import RegistryError
from mlops.gateway.registry.ranges import check_chunk, received_range
from mlops.gateway.registry.request import RegistryRequest
from mlops.gateway.s3.answers import Response
from mlops.image_uri import is_repository
from mlops.services.ecr import Registry


def begin(registry: Registry, request: RegistryRequest) -> Response:
    """``POST …/blobs/uploads/``: an upload, the whole of one, or a layer of another repository."""
    name, layers = request.name, registry.layers
    mounted = request.query.get("mount")
    if mounted is not None:
        source = request.query.get("from", "")
        if is_repository(source) and layers.mount(name, request.digest(mounted), source):
            return _made(name, mounted)
    whole = request.query.get("digest")
    digest = None if whole is None else request.digest(whole)
    upload = layers.begin(name)
    if digest is None:
        return _accepted(name, upload, 0)
    try:
        layers.append(name, upload, request.body)
    except BaseException:
        layers.cancel(name, upload)
        raise
    layers.finish(name, upload, digest)
    return _made(name, digest)


def add(registry: Registry, request: RegistryRequest) -> Response:
    """``PATCH``: the next chunk."""
    return _accepted(request.name, request.reference, _append(registry, request))


def finish(registry: Registry, request: RegistryRequest) -> Response:
    """``PUT``: the last chunk, if there is one, and the digest of the whole."""
    digest = request.query.get("digest")
    if digest is None:
        raise RegistryError("DIGEST_INVALID", "The digest of the layer is missing", status=400)
    digest = request.digest(digest)
    _append(registry, request)
    registry.layers.finish(request.name, request.reference, digest)
    return _made(request.name, digest)


def status(registry: Registry, request: RegistryRequest) -> Response:
    received = registry.layers.received(request.name, request.reference)
    return Response(204, _where(request.name, request.reference, received))


def cancel(registry: Registry, request: RegistryRequest) -> Response:
    registry.layers.cancel(request.name, request.reference)
    return Response(204)


def _append(registry: Registry, request: RegistryRequest) -> int:
    received = registry.layers.received(request.name, request.reference)
    check_chunk(request.headers.get("content-range"), request.length, received)
    return registry.layers.append(request.name, request.reference, request.body)


def _accepted(name: str, upload: str, received: int) -> Response:
    return Response(202, _where(name, upload, received))


def _where(name: str, upload: str, received: int) -> Mapping[str, str]:
    return {
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Range": received_range(received),
        "Docker-Upload-UUID": upload,
    }


def _made(name: str, digest: str) -> Response:
    return Response(
        201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
    )
