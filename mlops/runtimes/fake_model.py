"""A model server for the fake runtime: real HTTP, no model."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlops.runtimes.fake import EndedBySignal, FakeContainer
from mlops.runtimes.served import LOOPBACK, PORT_VARIABLE


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer to ``POST /invocations``."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/csv"})
    parts: Iterable[bytes] | None = None
    """In the place of a body: sent one by one, in chunks; an OSError breaks the connection."""


Predict = Callable[[FakeContainer, bytes, Mapping[str, str]], Reply]
"""From the container, a request's body and its headers to the answer."""


def echo(_: FakeContainer, body: bytes, headers: Mapping[str, str]) -> Reply:
    """Answers with the request."""
    return Reply(body, headers={"Content-Type": headers.get("Content-Type", "text/plain")})


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has gone: stderr is the test's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class FakeModelServer:
    """A behaviour for `FakeRuntime`: answers ``/ping`` and ``/invocations`` until it is stopped.

    Args:
        predict: what invocations are answered with.
        ping: the status of ``/ping``, by the container; 200 by default.
        ready: set before the server listens; by default it is.
        log: what it says first.
    """

    def __init__(
        self,
        predict: Predict = echo,
        *,
        ping: Callable[[FakeContainer], int] = lambda _: 200,
        ready: threading.Event | None = None,
        log: str = "",
    ) -> None:
        self._predict = predict
        self._ping = ping
        self._ready = ready
        self._log = log
        self.kill = threading.Event()
        """Set it, and every server of this behaviour dies with status 3."""

    def __call__(self, container: FakeContainer) -> int:
        container.write(self._log)
        while self._ready is not None and not self._ready.wait(0.01):
            if container.terminated.is_set():
                raise EndedBySignal(signal.SIGTERM)
        port = int(container.job.environment[PORT_VARIABLE])
        server = _Server((LOOPBACK, port), self._handler(container))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            while not container.terminated.wait(0.01):
                if self.kill.is_set():
                    return 3
        finally:
            server.shutdown()
            server.server_close()
        raise EndedBySignal(signal.SIGTERM)

    def _handler(self, container: FakeContainer) -> type[BaseHTTPRequestHandler]:
        predict, ping = self._predict, self._ping

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._send(Reply(status=ping(container) if self.path == "/ping" else 404))

            def do_POST(self) -> None:
                chunked = self.headers.get("Transfer-Encoding") == "chunked"
                length = int(self.headers.get("Content-Length", 0))
                body = self._chunks() if chunked else self.rfile.read(length)
                self._send(predict(container, body, dict(self.headers)))

            def _chunks(self) -> bytes:
                body = b""
                while length := int(self.rfile.readline(), 16):
                    body += self.rfile.read(length + 2)[:-2]
                self.rfile.readline()
                return body

            def _send(self, reply: Reply) -> None:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.parts is not None:
                    self._send_parts(reply.parts)
                    return
                self.send_header("Content-Length", str(len(reply.body)))
                with suppress(ConnectionError):  # whoever asked has gone
                    self.end_headers()
                    self.wfile.write(reply.body)

            def _send_parts(self, parts: Iterable[bytes]) -> None:
                self.send_header("Transfer-Encoding", "chunked")
                try:
                    self.end_headers()
                    for part in parts:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Say nothing: stderr is the test's."""

        return Handler
