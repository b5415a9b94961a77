"""One invocation: a POST to a server, through connections that are kept.

A model answers in less time than a connection takes to set up, so each server has a few that wait
for the next request. A server may close one while it waits: then the request goes out again, on a
new one. Only a connection that carried a request before is treated so; what a fresh one does is
the server's own doing.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

MOST_IDLE_CONNECTIONS = 32
CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Streamed:
    """A request's body that is read while it is sent; its length is known before."""

    length: int
    parts: Callable[[], Iterator[bytes]]
    """All of it from the start, each time. A TimeoutError of it is a TooSlow of the request."""

    def __len__(self) -> int:
        return self.length


Body: TypeAlias = bytes | Sequence[bytes] | Streamed
"""Of a request: whole, or in parts."""


class NotReached(Exception):
    """Nobody listens: the request was not sent."""


class NoAnswer(Exception):
    """The server broke the connection off before it had answered."""


class TooSlow(Exception):
    """The answer did not come in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer. `body` may be read once; what is not read is given back by `close`."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    length: int | None
    """Bytes of the body, where the server says so."""
    _exchange: _Exchange

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes.

        Raises:
            NoAnswer, TooSlow: it breaks off.
        """
        return self._exchange.chunks()

    def measure(self, most: int) -> int:
        """The body's length. Where the server does not say it, up to `most` bytes and one more
        are read for it, and kept for `chunks`.

        Raises:
            NoAnswer, TooSlow: it breaks off.
        """
        return self._exchange.measure(most) if self.length is None else self.length

    def read(self, most: int) -> bytes:
        """The body up to `most` bytes and no further.

        Raises:
            NoAnswer, TooSlow: it breaks off.
        """
        return self._exchange.read(most)

    def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self._exchange.close()


class Connections:
    """The kept connections to one server. Safe to use from several threads."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._closed = False

    def post(self, path: str, body: Body, headers: Mapping[str, str], timeout: float) -> Answer:
        """Send a request; returns when the answer's head is there.

        A body in parts goes out in HTTP's chunked encoding.

        Raises:
            NotReached, NoAnswer, TooSlow
        """
        kept = self._take()
        if kept is None:
            return self._exchange(self._connect(timeout), path, body, headers, timeout)
        try:
            return self._exchange(kept, path, body, headers, timeout)
        except NoAnswer as closed:
            try:
                fresh = self._connect(timeout)  # it had been closed while it waited
            except NotReached:
                raise closed from None  # no: the server has died, over this request for all we know
        return self._exchange(fresh, path, body, headers, timeout)

    def close(self) -> None:
        """Close those that wait; those in use close when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < MOST_IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise NotReached(str(error)) from error
        # A request's head and body go out in two writes: the second must not wait for the ACK.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        path: str,
        body: Body,
        headers: Mapping[str, str],
        timeout: float,
    ) -> Answer:
        try:
            connection.sock.settimeout(timeout)
            taken = _send(connection, path, body, headers)
            response = connection.getresponse()
            response.will_close = response.will_close or not taken
        except TimeoutError as error:
            connection.close()
            raise TooSlow from error
        except http.client.ImproperConnectionState:
            raise  # a defect of ours, and no reason to send a request again
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        if (
            not response.headers
        ):  # http.client takes an answer that ends in its head for a whole one
            connection.close()
            raise NoAnswer("the answer ends in its head")
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.length,
            _Exchange(self, connection, response),
        )


def _send(
    connection: http.client.HTTPConnection, path: str, body: Body, headers: Mapping[str, str]
) -> bool:
    """Send a request; False where the server hung up before it had all of it.

    It may have answered by then: that it is too large, say.
    """
    try:
        if isinstance(body, bytes):
            connection.request("POST", path, body, dict(headers))
        elif isinstance(body, Streamed):
            sized = {**headers, "Content-Length": str(body.length)}
            connection.request("POST", path, body.parts(), sized)
        else:
            chunked = {**headers, "Transfer-Encoding": "chunked"}
            connection.request("POST", path, body, chunked, encode_chunked=True)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


class _Exchange:
    """A connection that carries an answer."""

    def __init__(
        self,
        connections: Connections,
        connection: http.client.HTTPConnection,
        response: http.client.HTTPResponse,
    ) -> None:
        self._connections = connections
        self._connection: http.client.HTTPConnection | None = connection
        self._response = response
        self._kept = b""

    def measure(self, most: int) -> int:
        self._kept = self._receive(self._response.read, most + 1)
        return len(self._kept)

    def chunks(self) -> Iterator[bytes]:
        try:
            if self._kept:
                yield self._kept
            while chunk := self._receive(self._response.read1, CHUNK_BYTES):
                yield chunk
        finally:
            self.close()

    def read(self, most: int) -> bytes:
        try:
            return self._receive(self._response.read, most)
        finally:
            self.close()

    def _receive(self, read: Callable[[int], bytes], most: int) -> bytes:
        try:
            data = read(most)
        except TimeoutError as error:
            raise TooSlow from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}") from error
        if not data and self._response.length:
            raise NoAnswer(f"{self._response.length} bytes of the body are missing")
        return data

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._response.length == 0:
            self._response.close()  # read to its end, which read1 leaves open
        if self._response.isclosed() and not self._response.will_close:
            self._connections.give_back(connection)
        else:
            connection.close()
