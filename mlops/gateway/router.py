"""Which service a request is for.

By the target header, then by the credential scope of its signature, then by the paths that only
one service has, else it is S3's: S3 is asked without a signature, too, and its path is the bucket.
Signatures themselves are not checked here: this machine's own processes need none that is right,
and `guard` has checked everybody else's. One of those processes is the browser, which carries out
what any web page says, so requests that a page can have sent are refused: whoever may start a
pipeline may run programs. No page can sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from mlops.gateway.protocols import json11, query
from mlops.gateway.protocols.refusal import refuse
from mlops.gateway.wire import Environ, Response, StartResponse, WsgiApp, json_response
from mlops.ports import JsonObject
from mlops.settings import CACHE_HEADER

INTERNAL_PREFIX = "/_mlops/"
"""No bucket's name starts with an underscore."""

STS_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
IAM_NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
_CACHE_VARIABLE = "HTTP_" + CACHE_HEADER.upper().replace("-", "_")
_SCOPE = re.compile(r"Credential=[^/\s]+/\d{8}/[^/\s]*/(?P<service>[^/\s]+)/aws4_request")

_PATHS = (
    (re.compile(r"/endpoints/[^/]+/(async-)?invocations(-response-stream)?/?$"), "sagemaker"),
    (re.compile(r"/2015-03-31/functions(/|$)"), "lambda"),
)
"""Paths of which curl and the like need no signature: no bucket is called so and posted to."""

VERIFIED = "mlops.verified"
"""The environ key of a request whose signature `guard` has verified."""

REGISTRY = "registry"
"""The face of what container engines ask; AWS has no signing name for it."""
_REGISTRY_PATH = re.compile(r"/v2(/|$)")

_TARGETS = {
    "AmazonEC2ContainerRegistry_V20150921": "ecr",
    "Logs_20140328": "logs",
    "AWSEvents": "events",
    "AmazonSQS": "sqs",
}
"""The services of requests that are not signed, by the first part of X-Amz-Target."""


class Service(Protocol):
    def handle(self, operation: str, request: JsonObject) -> JsonObject: ...


class SageMaker(Protocol):
    def handle(
        self, operation: str, request: JsonObject, *, cache_mode: str | None = None
    ) -> JsonObject: ...


class Router:
    """The WSGI application of the gateway."""

    def __init__(
        self,
        *,
        internal: WsgiApp,
        sagemaker: SageMaker,
        sts: Service,
        s3: WsgiApp,
        invocations: WsgiApp,
        faces: Mapping[str, WsgiApp] | None = None,
        others: WsgiApp | None = None,
    ) -> None:
        """`invocations` answers sagemaker-runtime; `faces` further services, by signing name.

        `others` answers, or refuses, all that is left; without it that is refused.
        """
        self._internal = internal
        self._sagemaker = sagemaker
        self._sts = sts
        self._invocations = invocations
        self._faces = {"s3": s3, **(faces or {})}
        self._others = others

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if VERIFIED not in environ and is_from_a_web_page(environ):
            return _FORBIDDEN.send(start_response)
        if environ["PATH_INFO"].startswith(INTERNAL_PREFIX):
            return self._internal(environ, start_response)
        service = service_of(environ)
        if service == "sagemaker" and is_runtime_request(environ):
            return self._invocations(environ, start_response)
        face = self._faces.get(service)
        if face is None and service not in ("sagemaker", "sts"):
            face = self._others
        if face is not None:
            return face(environ, start_response)
        return self._answer(environ, service).send(start_response)

    def _answer(self, environ: Environ, service: str) -> Response:
        if service == "sagemaker":
            return self._answer_sagemaker(environ)
        if service == "sts":
            return query.answer(environ, STS_NAMESPACE, self._sts.handle)
        return refuse(environ, service)

    def _answer_sagemaker(self, environ: Environ) -> Response:
        prefix, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if prefix != "SageMaker":
            # sagemaker-featurestore-runtime and others sign as sagemaker, too.
            return refuse(environ, "sagemaker")
        handle = self._sagemaker.handle
        mode = environ.get(_CACHE_VARIABLE)
        return json11.answer(
            environ, operation, handle if mode is None else partial(handle, cache_mode=mode)
        )


_FORBIDDEN = json_response(
    {
        "message": "The gateway answers programs of this machine, not web pages: "
        "call it by an IP address or localhost, without an Origin"
    },
    status=403,
)
_LOCAL_NAMES = ("localhost", "host.docker.internal")


def is_from_a_web_page(environ: Environ) -> bool:
    """Whether a browser may have sent this for a page that is not the gateway's.

    A page's requests that change something name their Origin. A page whose name has been made to
    point here (DNS rebinding) sends that name as the Host; programs are given an address.
    """
    origin: str = environ.get("HTTP_ORIGIN", "")
    host: str = environ.get("HTTP_HOST", "")
    if origin and not _is_local(urlsplit(origin).netloc):
        return True
    return bool(host) and not _is_local(host)


def _is_local(host: str) -> bool:
    name = re.sub(r":\d+$", "", host.lower())
    if any(name == own or name.endswith(f".{own}") for own in _LOCAL_NAMES):
        return True
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def service_of(environ: Environ) -> str:
    """The signing name of the service that a request is for."""
    target: str = environ.get("HTTP_X_AMZ_TARGET", "")
    if target.startswith("SageMaker."):
        return "sagemaker"
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope:
        return scope["service"]
    if target:
        prefix = target.partition(".")[0]
        return _TARGETS.get(prefix, prefix)
    if _asks_sts(environ):
        return "sts"
    for path, service in _PATHS:
        if path.match(environ["PATH_INFO"]) and environ["REQUEST_METHOD"] != "GET":
            return service
    return _presigned_service(environ) or (REGISTRY if _asks_registry(environ) else "s3")


def _asks_registry(environ: Environ) -> bool:
    """Whether a container engine asks: a bucket's name has three characters at least.

    Under a bucket's own host name the path is a key.
    """
    host: str = environ.get("HTTP_HOST", "").partition(":")[0].lower()
    return bool(_REGISTRY_PATH.match(environ["PATH_INFO"])) and not host.endswith(".localhost")


def is_runtime_request(environ: Environ) -> bool:
    """Whether a request to sagemaker is for sagemaker-runtime, which signs under that name."""
    path: str = environ["PATH_INFO"]
    return "HTTP_X_AMZ_TARGET" not in environ and path.startswith("/endpoints/")


def _asks_sts(environ: Environ) -> bool:
    """An unsigned form posted to the root (AssumeRoleWithWebIdentity is one)."""
    content_type: str = environ.get("CONTENT_TYPE", "")
    posted = (environ["REQUEST_METHOD"], environ["PATH_INFO"]) == ("POST", "/")
    return posted and content_type.startswith("application/x-www-form-urlencoded")


def _presigned_service(environ: Environ) -> str | None:
    values = parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential", [])
    parts = values[0].split("/") if values else []
    return parts[3] if len(parts) == 5 else None
