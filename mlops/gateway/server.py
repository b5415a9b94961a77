"""A running gateway: its listeners, what it serves, and when it leaves."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cheroot import wsgi
from cheroot.server import HTTPConnection

from mlops.aws_model import load_service
from mlops.errors import GatewayUnavailable, PortInUse
from mlops.gateway.s3.headers import RawHeadersGateway
from mlops.gateway.wire import Environ, StartResponse, WsgiApp
from mlops.listening import EVERYWHERE, LOOPBACK, is_own_address
from mlops.ports import JsonObject

_FIRST_THREADS = 4
_THREADS = 24  # every follower of an execution holds one for as long as its request waits
_MOST_THREADS = 256  # as many invocations as a serverless endpoint may have at once, and then some
_SPARE_THREADS = 6
_PORT_ATTEMPTS = 20
_KEEP_ALIVE_SECONDS = 60
_READ_SECONDS = 20  # for which a client that has begun a request may send nothing more of it
_STOP_SECONDS = 3
_BACKLOG = 1024  # the kernel takes no more than net.core.somaxconn
_CONNECTIONS_KEPT = 1024
_MOST_HEAD_BYTES = 256 * 1024  # request line and headers; cheroot would take any number into memory
_FAREWELL_SECONDS = 2.0
_FAREWELL_QUIET_SECONDS = 0.3

_logger = logging.getLogger(__name__)


class Executions(Protocol):
    """What the life of a gateway needs of ``mlops.execution.ExecutionManager``."""

    def active(self) -> int: ...
    def recover(self) -> Sequence[object]: ...
    def close(self) -> None: ...


class Host(Protocol):
    """What the life of a gateway needs of what it hosts: endpoints, functions."""

    def up(self) -> int:
        """How many of them are up: while any is, an idle gateway stays."""
        ...

    def recover(self) -> None: ...


class Listeners:
    """One port on the loopback address, and on `job_host` where that is another of this host's.

    Jobs in containers reach the gateway under `job_host`: the Docker bridge's address. Nothing
    listens on any other address, unless somebody asks for it by `host`.
    """

    def __init__(self, port: int, job_host: str, host: str | None = None) -> None:
        self._job_host = job_host
        self.bridge = job_host if is_own_address(job_host) else None
        self.host = None if host in (LOOPBACK, self.bridge) else host
        """Where it listens beyond this machine and its containers; None: nowhere."""
        self.job_key: tuple[str, str] | None = None
        near = [LOOPBACK, *filter(None, [self.bridge])]
        far = [self.host] if self.host else []
        self._sockets = _bind(far if self.host == EVERYWHERE else near + far, port)
        self.port: int = self._sockets[0].getsockname()[1]
        self._servers: list[_Server] = []
        self._threads = _FIRST_THREADS
        self._changing = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def job_url(self) -> str:
        """The gateway as jobs reach it."""
        return f"http://{self._job_host}:{self.port}"

    @property
    def signing_url(self) -> str:
        """The same, with the key that jobs sign with where one was given (`entrust`): a secret."""
        if self.job_key is None:
            return self.job_url
        user, password = self.job_key
        return f"http://{user}:{password}@{self._job_host}:{self.port}"

    def entrust(self, access_key_id: str, secret_access_key: str) -> None:
        """Have jobs sign with a key; both parts are letters, digits, hyphens and underscores."""
        self.job_key = (access_key_id, secret_access_key)

    def serve(self, app: WsgiApp) -> None:
        """Answer from now on, in threads of its own."""
        for bound in self._sockets:
            server = _Server(bound, app, self.make_room)
            self._servers.append(server)
            threading.Thread(target=server.serve, name="gateway", daemon=True).start()

    def grow(self) -> None:
        """Start the rest of the threads: 40 ms that the first answer need not wait for."""
        self._grow_to(_THREADS)

    def make_room(self) -> None:
        """See that the requests there are do not keep others waiting; returns at once."""
        if self._threads < _MOST_THREADS:
            wanted = min(2 * self._threads, _MOST_THREADS)
            threading.Thread(target=self._grow_to, args=(wanted,), name="growing").start()

    def _grow_to(self, threads: int) -> None:
        # cheroot waits for ever for new threads of a server that is stopped meanwhile.
        with self._changing:
            for server in self._servers:
                server.requests.grow(threads - self._threads)
            self._threads = max(self._threads, threads)

    def close(self) -> None:
        """Take no more requests; those that are being answered get a moment to end."""
        with self._changing:
            for server in self._servers:
                _stop(server)
            self._servers.clear()
        for bound in self._sockets:
            bound.close()


class _Server(wsgi.Server):
    """cheroot's server on a socket that is bound already: all listeners have to have one port.

    A connection gets a thread once its client has sent something. Where few threads are left,
    because clients are slow or their requests are, `crowded` hears of it.
    """

    def __init__(self, bound: socket.socket, app: WsgiApp, crowded: Callable[[], None]) -> None:
        super().__init__(
            bound.getsockname(),
            app,
            numthreads=_FIRST_THREADS,
            server_name="mlops",
            request_queue_size=_BACKLOG,
            timeout=_KEEP_ALIVE_SECONDS,
            shutdown_timeout=_STOP_SECONDS,
        )
        # WSGI takes the underscore in a header's name for a hyphen; S3 metadata may have both.
        self.gateway = RawHeadersGateway
        self.keep_alive_conn_limit = _CONNECTIONS_KEPT
        self.max_request_header_size = _MOST_HEAD_BYTES
        self._bound = bound
        self._crowded = crowded
        self.prepare()

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:  # noqa: A002  # cheroot's name
        self.socket = self._bound
        return self._bound

    def process_conn(self, conn: HTTPConnection) -> None:
        """Called by cheroot for a new connection, and for one on which there is something."""
        if conn.last_used is None:
            conn.socket.settimeout(_READ_SECONDS)
            self.put_conn(conn)  # to those that are waited for
            return
        super().process_conn(conn)
        if self.requests.idle < _SPARE_THREADS:
            self._crowded()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        _logger.log(level, "%s", msg, exc_info=traceback)


def _stop(server: _Server) -> None:
    """Stop a server at once: it looks up from its sockets only when there is something on one."""
    address = server.bind_addr
    stopping = threading.Thread(target=server.stop, name="stopping", daemon=True)
    stopping.start()
    while stopping.is_alive():
        with suppress(OSError):
            socket.create_connection(address, timeout=1).close()
        stopping.join(0.02)


def _bind(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets on one port of every host; with port 0, on one that is free on all of them."""
    for _ in range(_PORT_ATTEMPTS):
        bound: list[socket.socket] = []
        try:
            for host in hosts:
                chosen = bound[0].getsockname()[1] if bound else port
                bound.append(_listen(host, chosen))
            return bound
        except OSError as error:
            for listening in bound:
                listening.close()
            if error.errno != errno.EADDRINUSE:
                raise GatewayUnavailable(
                    f"The gateway cannot listen: {error.strerror}", where=", ".join(hosts)
                ) from error
            if port:
                raise PortInUse(
                    f"Port {port} is in use by another program",
                    where=", ".join(hosts),
                    next_step="choose another gateway_port, or 0 for any free one",
                ) from error
    raise PortInUse("No free port was found", next_step="set gateway_port to a free one")


def _listen(host: str, port: int) -> socket.socket:
    made = socket.socket()
    try:
        # Without it a port is refused for a minute after its last gateway has left.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: small answers must not wait for the client's ACK.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.bind((host, port))
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    return made


class Activity:
    """Requests come through here: it knows how long the gateway has had none."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._open = 0
        self._last = time.monotonic()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            self._open += 1
        try:
            return self._app(environ, start_response)
        finally:
            with self._lock:
                self._open -= 1
                self._last = time.monotonic()

    def idle_seconds(self) -> float:
        with self._lock:
            return 0.0 if self._open else time.monotonic() - self._last


@dataclass(frozen=True, slots=True)
class Closing:
    """Something to close at the end, and what it is called in the log."""

    name: str
    close: Callable[[], None]


class Gateway:
    """What ``app.compose_gateway`` has put together, from start to stop.

    ``serve`` makes it answer; ``leave`` (from any thread or signal handler) makes ``wait`` return;
    ``stop`` ends it: executions are stopped and recorded while it still answers, so that whoever
    follows them hears of it, then the listeners close.
    """

    def __init__(
        self,
        *,
        listeners: Listeners,
        executions: Executions,
        hosts: Sequence[Host] = (),
        runtime: str,
        started_at: datetime,
        leaving: threading.Event,
        closing: Sequence[Closing],
        idle_limit: float,
        admit: Callable[[WsgiApp], WsgiApp] | None = None,
    ) -> None:
        """`admit` puts something before the application that decides whom it answers."""
        self.listeners = listeners
        self.runtime = runtime
        self.started_at = started_at
        self._executions = executions
        self._hosts = hosts
        self._leaving = leaving
        self._closing = closing
        self._idle_limit = idle_limit
        self._admit = admit
        self._activity: Activity | None = None

    @property
    def url(self) -> str:
        return self.listeners.url

    def serve(self, app: WsgiApp) -> None:
        """Record what a dead gateway left, go on with what it hosted, then answer."""
        self._executions.recover()
        for host in self._hosts:
            host.recover()
        admitted = app if self._admit is None else self._admit(app)
        self._activity = Activity(admitted)
        self.listeners.serve(self._activity)
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def _warm_up(self) -> None:
        """What the first answer (of a handshake, mostly) does not need and the next ones do."""
        self.listeners.grow()
        load_service("sagemaker")

    def leave(self) -> None:
        self._leaving.set()

    def shut_down(self, only_if_idle: bool) -> bool:
        """Leave; where it is asked to be idle, only if no execution runs. Says whether it does."""
        if only_if_idle and self._executions.active():
            return False
        self.leave()
        return True

    def wait(self, still_ours: Callable[[], bool] = lambda: True, tick: float = 0.5) -> None:
        """Until it is asked to leave, has been idle too long, or its state folder is gone."""
        while not self._leaving.wait(tick):
            if not still_ours():
                _logger.warning("the state folder has been moved or deleted: leaving")
                return
            if self._is_idle():
                _logger.info("idle for %.0f s: leaving", self._idle_limit)
                return

    def _is_idle(self) -> bool:
        idle = self._activity.idle_seconds() if self._activity else 0.0
        if idle < self._idle_limit or self._executions.active():
            return False
        return not any(host.up() for host in self._hosts)

    def stop(self) -> None:
        """End everything. What cannot be closed is logged, and does not keep the rest open."""
        self._leaving.set()
        for part in (
            Closing("executions", self._close_executions),
            Closing("listeners", self.listeners.close),
            *self._closing,
        ):
            try:
                part.close()
            except Exception:  # the end of the process: the other parts have to be closed, too
                _logger.exception("closing the %s failed", part.name)

    def _close_executions(self) -> None:
        had_some = self._executions.active() > 0
        self._executions.close()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        # A follower asks again as soon as it has an answer: its last one is that all has ended.
        while had_some and self._activity and time.monotonic() < deadline:
            if self._activity.idle_seconds() > _FAREWELL_QUIET_SECONDS:
                break
            time.sleep(0.02)


class GatewayThread:
    """A gateway in a thread of this process, for tests and notebooks::

    with GatewayThread(compose_gateway(settings)) as url:
        boto3.client("sagemaker", endpoint_url=url, …)
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def __enter__(self) -> str:
        return self.gateway.url

    def __exit__(self, *_: object) -> None:
        self.gateway.stop()


def health_document(
    gateway: Gateway,
    *,
    version: str,
    store: Path,
    settings_digest: str,
    running: Sequence[str],
    jobs: Sequence[str],
    endpoints: Sequence[str],
    functions: Sequence[str],
    async_invocations: Mapping[str, int],
) -> JsonObject:
    """What ``GET /_mlops/health`` answers: who runs here, and by their names what runs in it.

    ``async_invocations``: how many have not ended, by endpoint.
    """
    return {
        "running": True,
        "url": gateway.url,
        "job_url": gateway.listeners.job_url,
        "host": gateway.listeners.host,
        "pid": os.getpid(),
        "version": version,
        "settings": settings_digest,
        "runtime": gateway.runtime,
        "store": str(store),
        "started_at": gateway.started_at.isoformat(),
        "executions": list(running),
        "jobs": list(jobs),
        "endpoints": list(endpoints),
        "functions": list(functions),
        "async_invocations": dict(async_invocations),
    }
