"""Header names as clients send them, which WSGI loses.

WSGI writes ``x-amz-meta-my-key`` and ``x-amz-meta-my_key`` both as ``HTTP_X_AMZ_META_MY_KEY``;
metadata with underscores is common. Set this on a cheroot server before it starts::

    server.gateway = RawHeadersGateway
"""

from __future__ import annotations

from typing import Any

from cheroot import wsgi

from mlops.gateway.s3.request import RAW_HEADERS


class RawHeadersGateway(wsgi.Gateway_10):
    """cheroot's WSGI 1.0 gateway that also hands on the headers with their own names."""

    version = (1, 0)

    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # cheroot's stub says None
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]  # likewise
        environ[RAW_HEADERS] = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in self.req.inheaders.items()
        ]
        return environ
