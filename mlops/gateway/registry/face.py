"""The registry on the wire: `docker login`, `docker push`, `docker pull` and whoever speaks so.

Every request has to carry a password of GetAuthorizationToken; the one exception is a layer's
address of GetDownloadUrlForLayer, which carries its own key. Bodies stream both ways: memory does
not grow with a layer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TypeAlias

from mlops.errors import MlopsError
from mlops.gateway.registry import blobs, listing, manifests, uploads
from mlops.gateway.registry.failures import (
    RegistryError,
    error_document,
    registry_error,
    unauthorized,
    unsupported,
)
from mlops.gateway.registry.request import RegistryRequest, body_of, parse_request
from mlops.gateway.s3.answers import FileBody, Response
from mlops.gateway.s3.bodies import RequestBody
from mlops.gateway.wire import Environ, StartResponse
from mlops.services.ecr import Registry
from mlops.services.ecr.layer_operations import LAYER_KEY

_Handler: TypeAlias = Callable[[Registry, RegistryRequest], Response]

_HANDLERS: Mapping[str, Mapping[str, _Handler]] = {
    "base": {"GET": listing.base, "HEAD": listing.base},
    "catalog": {"GET": listing.catalog},
    "tags": {"GET": listing.tags},
    "uploads": {"POST": uploads.begin},
    "upload": {
        "GET": uploads.status,
        "PATCH": uploads.add,
        "PUT": uploads.finish,
        "DELETE": uploads.cancel,
    },
    "blob": {"GET": blobs.send, "HEAD": blobs.send, "DELETE": blobs.delete},
    "manifest": {
        "GET": manifests.send,
        "HEAD": manifests.send,
        "PUT": manifests.put,
        "DELETE": manifests.delete,
    },
    "referrers": {"GET": manifests.referrers},
}
_CHALLENGE = 'Basic realm="mlops",service="ecr.amazonaws.com"'

_logger = logging.getLogger(__name__)


class RegistryFace:
    """A WSGI application over a `Registry`. Safe to call from several threads."""

    def __init__(self, registry: Registry, keep_house: Callable[[], None]) -> None:
        """`keep_house` is called before each request is answered (`EcrService.keep_house`)."""
        self._registry = registry
        self._keep_house = keep_house

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        response = self._respond(environ)
        headers = {"Docker-Distribution-API-Version": "registry/2.0", **response.headers}
        body = response.body
        if response.status != HTTPStatus.NO_CONTENT:
            length = body.length if isinstance(body, FileBody) else len(body)
            headers["Content-Length"] = str(length)
        start_response(
            f"{response.status} {HTTPStatus(response.status).phrase}", list(headers.items())
        )
        if not isinstance(body, FileBody):
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        if environ["REQUEST_METHOD"] == "HEAD":
            body.close()
            return []
        return body

    def _respond(self, environ: Environ) -> Response:
        body = None
        try:
            body = body_of(environ)
            return self._answer(environ, body)
        except MlopsError as error:
            return _failed(registry_error(error))
        except Exception:  # the boundary: a fault of ours must not take the server down
            _logger.exception("the registry failed")
            return _failed(
                RegistryError("UNKNOWN", "The gateway failed: its log says how", status=500)
            )
        finally:
            if body is not None:
                body.drain()

    def _answer(self, environ: Environ, body: RequestBody) -> Response:
        self._check_password(environ, body)
        request = parse_request(environ, body)
        handler = _HANDLERS[request.place].get(request.method)
        if handler is None:
            raise unsupported(f"{request.method[:20]} is not for this")
        self._keep_house()
        return handler(self._registry, request)

    def _check_password(self, environ: Environ, body: RequestBody) -> None:
        credentials = self._registry.credentials
        if credentials.accepts(str(environ.get("HTTP_AUTHORIZATION", ""))):
            return
        try:
            request = parse_request(environ, body)
        except RegistryError as error:
            raise unauthorized(_CHALLENGE) from error
        key = request.query.get(LAYER_KEY, "")
        fetches = request.place == "blob" and request.method in ("GET", "HEAD")
        if not (fetches and credentials.opens_layer(key, request.name, request.reference)):
            raise unauthorized(_CHALLENGE)


def _failed(error: RegistryError) -> Response:
    headers = {"Content-Type": "application/json", **error.headers}
    return Response(error.status, headers, error_document(error))
