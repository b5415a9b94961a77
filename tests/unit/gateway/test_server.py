"""Listeners, and when a gateway leaves."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any

import pytest

from mlops.errors import PortInUse
from mlops.gateway.server import Closing, Gateway, Listeners


def hello(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


def get(host: str, port: int) -> bytes:
    connection = HTTPConnection(host, port, timeout=5)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return body


def test_one_port_on_loopback_and_bridge() -> None:
    listeners = Listeners(0, "127.0.0.2")
    listeners.serve(hello)
    assert get("127.0.0.1", listeners.port) == get("127.0.0.2", listeners.port) == b"hello"
    with pytest.raises(OSError, match="refused"):
        get("127.0.0.3", listeners.port)
    assert listeners.url == f"http://127.0.0.1:{listeners.port}"
    assert listeners.job_url == f"http://127.0.0.2:{listeners.port}"
    listeners.close()
    with pytest.raises(OSError, match="refused"):
        get("127.0.0.1", listeners.port)


def test_a_host_that_is_none_of_this_machine() -> None:
    listeners = Listeners(0, "host.docker.internal")
    assert listeners.job_url == f"http://host.docker.internal:{listeners.port}"
    listeners.close()


def test_a_host_beyond_is_one_more() -> None:
    for host in (None, "127.0.0.1"):
        listeners = Listeners(0, "127.0.0.1", host)
        assert listeners.host is None
        listeners.close()
    listeners = Listeners(0, "127.0.0.2", "127.0.0.3")
    listeners.serve(hello)
    for each in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
        assert get(each, listeners.port) == b"hello"
    assert (listeners.host, listeners.bridge) == ("127.0.0.3", "127.0.0.2")
    listeners.close()


def test_a_head_without_end_is_refused() -> None:
    listeners = Listeners(0, "127.0.0.1")
    listeners.serve(hello)
    with socket.create_connection(("127.0.0.1", listeners.port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        answer = b""
        try:
            for number in range(400):
                client.sendall(f"X-{number}: ".encode() + b"x" * 1000 + b"\r\n")
            answer = client.recv(1000)
        except ConnectionError:
            answer = answer or b"HTTP/1.1 413 "  # it has hung up already
    assert answer.startswith(b"HTTP/1.1 413 ")
    listeners.close()


def test_a_fixed_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            Listeners(port, "127.0.0.1")


class Work:
    """``server.Executions``: as many executions as the test says."""

    def __init__(self) -> None:
        self.count = 0
        self.calls: list[str] = []

    def active(self) -> int:
        return self.count

    def recover(self) -> Sequence[object]:
        self.calls.append("recover")
        return []

    def close(self) -> None:
        self.calls.append("close")
        self.count = 0


def gateway(
    work: Work,
    idle_limit: float = 60.0,
    closing: Sequence[Closing] = (),
    hosts: Sequence[Hosted] = (),
    app: Any = hello,
) -> Gateway:
    made = Gateway(
        listeners=Listeners(0, "127.0.0.1"),
        executions=work,
        hosts=hosts,
        runtime="fake",
        started_at=datetime(2026, 3, 1, tzinfo=UTC),
        leaving=threading.Event(),
        closing=closing,
        idle_limit=idle_limit,
    )
    made.serve(app)
    return made


class Hosted:
    """``server.Host``: as many things up as the test says."""

    def __init__(self, count: int, calls: list[str]) -> None:
        self.count = count
        self._calls = calls

    def up(self) -> int:
        return self.count

    def recover(self) -> None:
        self._calls.append("recover a host")


def test_it_stays_while_something_that_it_hosts_is_up() -> None:
    work = Work()
    hosted = Hosted(1, work.calls)
    made = gateway(work, idle_limit=0.05, hosts=[Hosted(0, []), hosted])
    assert work.calls == ["recover", "recover a host"]
    left = threading.Event()
    threading.Thread(target=lambda: (made.wait(tick=0.01), left.set())).start()
    assert not left.wait(0.3)
    hosted.count = 0
    assert left.wait(5)
    made.stop()


def test_many_slow_requests_do_not_wait_for_one_another() -> None:
    def slow(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        time.sleep(0.0 if environ["PATH_INFO"] == "/quick" else 1.0)
        return hello(environ, start_response)

    made = gateway(Work(), app=slow)
    port = made.listeners.port
    answers: list[bytes] = []
    clients = [
        threading.Thread(target=lambda: answers.append(get("127.0.0.1", port))) for _ in range(80)
    ]
    begin = time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert answers == [b"hello"] * 80
    # With the threads that it starts with it would take four seconds or more.
    assert time.monotonic() - begin < 3
    made.stop()


def test_what_was_left_is_recorded_before_anything_is_answered() -> None:
    work = Work()
    made = gateway(work)
    assert work.calls == ["recover"]
    made.stop()
    assert work.calls == ["recover", "close"]


def test_it_leaves_when_idle() -> None:
    made = gateway(Work(), idle_limit=0.1)
    made.wait(tick=0.01)
    made.stop()


def test_it_stays_while_something_runs() -> None:
    work = Work()
    work.count = 1
    made = gateway(work, idle_limit=0.05)
    waiting = threading.Thread(target=made.wait, kwargs={"tick": 0.01})
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    work.count = 0
    waiting.join(5)
    assert not waiting.is_alive()
    made.stop()


def test_it_leaves_when_its_folder_is_gone() -> None:
    made = gateway(Work())
    made.wait(lambda: False, tick=0.01)
    made.stop()


def test_asked_to_leave_only_if_idle() -> None:
    work = Work()
    work.count = 1
    made = gateway(work)
    assert not made.shut_down(True)
    work.count = 0
    assert made.shut_down(True)
    made.wait(tick=60)
    made.stop()


def test_a_part_that_cannot_be_closed_keeps_no_other_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed: list[str] = []

    def fail() -> None:
        raise RuntimeError("stuck")

    parts = [Closing("first", fail), Closing("second", lambda: closed.append("second"))]
    gateway(Work(), closing=parts).stop()
    assert closed == ["second"]
    assert "closing the first failed" in caplog.text


def test_a_request_in_progress_is_no_idleness() -> None:
    made = gateway(Work(), idle_limit=0.2)
    begin = time.monotonic()
    until = begin + 0.5

    def ask() -> None:
        while time.monotonic() < until:
            get("127.0.0.1", made.listeners.port)
            time.sleep(0.02)

    asking = threading.Thread(target=ask)
    asking.start()
    made.wait(tick=0.01)
    assert time.monotonic() - begin > 0.5
    asking.join()
    made.stop()


def test_clients_that_say_nothing_or_half_of_it_keep_nobody_waiting() -> None:
    made = gateway(Work())
    address = ("127.0.0.1", made.listeners.port)
    half = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5"
    slow = []
    try:
        for number in range(200):
            slow.append(socket.create_connection(address))
            if number % 4 == 0:
                slow[-1].sendall(half)
        assert [get(*address) for _ in range(10)] == [b"hello"] * 10
        slow[0].sendall(b"\r\n\r\nhello")
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200 OK")
    finally:
        for client in slow:
            client.close()
        made.stop()
