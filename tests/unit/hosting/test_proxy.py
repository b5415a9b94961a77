"""Invocations over kept connections, against servers that behave in every way."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from mlops.hosting.proxy import Connections, NoAnswer, NotReached, Streamed, TooSlow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[socket.socket, int], None]
"""Answers one request on a connection; the number counts the server's requests from 1."""


class RawServer:
    """A server that says what its script says, byte by byte."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.requests: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            while request := read_request(connection):
                self.requests.append(request)
                try:
                    self._script(connection, len(self.requests))
                except StopIteration:
                    return

    def close(self) -> None:
        with suppress(OSError):  # it has been shut already
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who accepts
        self._listener.close()


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        try:
            part = connection.recv(65536)
        except OSError:
            return b""
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    (length,) = (
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def serve() -> Iterator[Callable[[Script], tuple[RawServer, Connections]]]:
    made: list[tuple[RawServer, Connections]] = []

    def start(script: Script) -> tuple[RawServer, Connections]:
        server = RawServer(script)
        made.append((server, Connections(server.address)))
        return made[-1]

    yield start
    for server, connections in made:
        connections.close()
        server.close()


Serve = Callable[[Script], tuple[RawServer, Connections]]


def say(answer: bytes) -> Script:
    return lambda connection, _: connection.sendall(answer)


def post(connections: Connections, body: bytes = b"1,2", timeout: float = 5) -> bytes:
    answer = connections.post("/invocations", body, {"Content-Type": "text/csv"}, timeout)
    return b"".join(answer.chunks())


def test_one_connection_serves_many_requests(serve: Serve) -> None:
    server, connections = serve(say(OK))
    assert [post(connections) for _ in range(5)] == [b"ok"] * 5
    assert server.connections == 1
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /invocations HTTP/1.1\r\n")
    assert b"Content-Type: text/csv" in head
    assert body == b"1,2"


def test_requests_at_once_have_a_connection_each(serve: Serve) -> None:
    server, connections = serve(say(OK))
    first, second = (connections.post("/", b"", {}, 5) for _ in range(2))
    assert b"".join(first.chunks()) + b"".join(second.chunks()) == b"okok"
    assert server.connections == 2
    post(connections)
    post(connections)
    assert server.connections == 2


def test_a_connection_that_was_closed_while_it_waited(serve: Serve) -> None:
    def close_after_each(connection: socket.socket, _: int) -> None:
        connection.sendall(OK)
        raise StopIteration

    server, connections = serve(close_after_each)
    assert post(connections) == b"ok"
    time.sleep(0.05)
    assert post(connections) == b"ok"
    assert len(server.requests) == 2


def test_a_server_that_dies_over_a_request_on_a_kept_connection(serve: Serve) -> None:
    def die_at_the_second(connection: socket.socket, number: int) -> None:
        if number == 2:
            server.close()
            raise StopIteration
        connection.sendall(OK)

    server, connections = serve(die_at_the_second)
    assert post(connections) == b"ok"
    with pytest.raises(NoAnswer):
        post(connections)
    with pytest.raises(NotReached):
        post(connections)


def test_a_server_that_says_close(serve: Serve) -> None:
    server, connections = serve(
        say(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    )
    assert [post(connections), post(connections)] == [b"ok", b"ok"]
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    ],
)
def test_every_form_of_a_body(serve: Serve, answer: bytes) -> None:
    server, connections = serve(say(answer))
    for _ in range(3):
        made = connections.post("/invocations", b"", {}, 5)
        assert made.measure(100) == 5
        assert b"".join(made.chunks()) == b"abcde"
    assert server.connections == 1


def test_a_body_that_ends_with_the_connection(serve: Serve) -> None:
    def until_closed(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nServer: old\r\n\r\nabcde")
        raise StopIteration

    _, connections = serve(until_closed)
    made = connections.post("/invocations", b"", {}, 5)
    assert made.measure(100) == 5
    assert b"".join(made.chunks()) == b"abcde"


def test_a_body_of_unknown_length_is_measured_no_further_than_allowed(serve: Serve) -> None:
    _, connections = serve(
        say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n" + b"x" * 1024)
    )
    made = connections.post("/invocations", b"", {}, 5)
    assert made.measure(100) == 101
    made.close()


def test_large_bodies_both_ways(serve: Serve) -> None:
    large = b"x" * 5_000_000

    def echo(connection: socket.socket, _: int) -> None:
        body = server.requests[-1].partition(b"\r\n\r\n")[2]
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    server, connections = serve(echo)
    assert post(connections, large) == large
    assert post(connections, b"") == b""


def test_a_body_that_is_cut_off(serve: Serve) -> None:
    def cut(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        raise StopIteration

    _, connections = serve(cut)
    with pytest.raises(NoAnswer, match="7 bytes of the body are missing"):
        post(connections)


def test_an_answer_that_nobody_reads_costs_its_connection_only(serve: Serve) -> None:
    server, connections = serve(say(OK))
    connections.post("/invocations", b"", {}, 5).close()
    assert post(connections) == b"ok"
    assert server.connections == 2


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotReached):
        post(Connections(f"127.0.0.1:{port}"))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 O", b"what?\r\n\r\n"])
def test_a_server_that_breaks_off_is_asked_once(serve: Serve, answer: bytes) -> None:
    def break_off(connection: socket.socket, _: int) -> None:
        connection.sendall(answer)
        raise StopIteration

    server, connections = serve(break_off)
    with pytest.raises(NoAnswer):
        post(connections)
    assert len(server.requests) == 1


def test_an_answer_that_does_not_come(serve: Serve) -> None:
    never = threading.Event()
    server, connections = serve(lambda *_: never.wait(10) and None)
    with pytest.raises(TooSlow):
        post(connections, timeout=0.2)
    assert len(server.requests) == 1
    never.set()


def test_closed_connections_keep_nothing(serve: Serve) -> None:
    server, connections = serve(say(OK))
    post(connections)
    connections.close()
    post(connections)
    post(connections)
    assert server.connections == 3


def test_a_refusal_before_the_body_has_been_read() -> None:
    """As servers do that say 413 and hang up while the client still sends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nbig")

        thread = threading.Thread(target=refuse)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        connections = Connections(address)
        body = Streamed(64 * 2**20, lambda: iter([bytes(2**20)] * 64))
        answer = connections.post("/invocations", body, {}, 60)
        assert (answer.status, b"".join(answer.chunks())) == (413, b"big")
        assert connections._idle == []
        thread.join()


def test_a_body_that_is_read_while_it_is_sent(serve: Serve) -> None:
    server, connections = serve(say(OK))
    opened: list[int] = []

    def parts() -> Iterator[bytes]:
        opened.append(1)
        yield from (b"12", b"345")

    for _ in range(2):
        answer = connections.post("/", Streamed(5, parts), {"Content-Type": "a/b"}, 60)
        assert b"".join(answer.chunks()) == b"ok"
    head, _, body = server.requests[1].partition(b"\r\n\r\n")
    assert (b"Content-Length: 5" in head, body, len(opened)) == (True, b"12345", 2)


def test_a_body_that_takes_too_long_to_read(serve: Serve) -> None:
    _, connections = serve(say(OK))

    def parts() -> Iterator[bytes]:
        yield b"12"
        raise TimeoutError

    with pytest.raises(TooSlow):
        connections.post("/", Streamed(5, parts), {}, 60)
