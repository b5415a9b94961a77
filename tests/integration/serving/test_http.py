"""The server on a real socket with a model made up: HTTP's ordinary and its ugly sides."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import CSV, JSON, Local, local_server, pings, read_all

MOST = 6 * 1024 * 1024
HEAD = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\n"
GET_PING = b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n"


def request(body: bytes, *lines: bytes) -> bytes:
    extra = b"".join(line + b"\r\n" for line in lines)
    return HEAD + extra + b"content-length: %d\r\n\r\n" % len(body) + body


def statuses(answers: bytes) -> list[int]:
    return [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]


# --- the ordinary side ------------------------------------------------------------------------


def test_rows_in_and_predictions_out(local: Local) -> None:
    assert local.post(b"1,2,abc\n3,4,\n") == (200, b"6.0\n7.0\n")
    assert local.post(b"word,b,a,c\nabc,,1,9\n") == (200, b"1004.0\n")
    assert local.post(b'[{"a": 1, "b": 2, "word": "abc"}]', JSON) == (
        200,
        b'{"predictions": [6.0]}',
    )
    assert local.post(b"1,2,abc", accept=JSON) == (200, b'{"predictions": [6.0]}')
    assert local.post(b'[1, 2, "abc"]', JSON, accept="text/csv") == (200, b"6.0\n")


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status", "text"),
    [
        (b"1,2,abc\n1,x,abc\n", CSV, {}, 400, "row 2, column 'b': 'x' is not a number"),
        (b"1,2", CSV, {}, 400, "row 1 has 2 values; the model takes 3 columns, a, b, word"),
        (b'{"a": 1}', JSON, {}, 400, "row 1 has no column 'b'"),
        (b"1e308,1e308,x", CSV, {}, 400, "row 1: the model has no finite prediction"),
        (b"1,2,abc", "text/plain", {}, 415, "send text/csv or application/json"),
        (b"1,2,abc", CSV, {"accept": "text/html"}, 406, "text/csv or application/json"),
        (b"1,2,abc", CSV, {"content-encoding": "gzip"}, 415, "Content-Encoding"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(
    local: Local, body: bytes, content_type: str, headers: dict[str, str], status: int, text: str
) -> None:
    got, answer = local.post(body, content_type, **headers)
    assert got == status
    assert text in answer.decode()


def test_a_failing_model_is_a_500_and_the_next_request_is_fine(local: Local) -> None:
    status, answer = local.post(b"1,2,fail")
    assert (status, answer) == (500, b"the model failed; see the server's log\n")
    assert local.post(b"1,2,abc")[0] == 200


def test_other_paths_and_methods(local: Local) -> None:
    close = b"connection: close\r\n\r\n"
    for line, status in {
        b"GET /ping?x=1": 200,
        b"HEAD /ping": 200,
        b"GET http://host:80/ping?x": 200,
        b"GET /": 404,
        b"OPTIONS *": 404,
        b"POST /ping": 405,
        b"GET /invocations": 405,
    }.items():
        answer = local.exchange(line + b" HTTP/1.1\r\nhost: x\r\n" + close)
        assert statuses(answer) == [status], line
        assert (b"allow: " in answer) == (status == 405)


def test_a_connection_stays_open_unless_asked(local: Local) -> None:
    with local.connect() as client:
        for _ in range(3):
            client.sendall(request(b"1,2,abc"))
            answer = client.recv(65536)
            assert answer.endswith(b"\r\n\r\n6.0\n")
            assert b"connection" not in answer
        client.sendall(request(b"1,2,abc", b"connection: close"))
        assert b"connection: close" in read_all(client)
    old = local.exchange(request(b"1,2,abc").replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert b"connection: close" in old
    assert old.endswith(b"6.0\n")


def test_a_body_may_come_in_chunks_and_byte_by_byte(local: Local) -> None:
    chunked = HEAD + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    chunked += b"3\r\n1,2\r\n4;x=y\r\n,abc\r\n0\r\ncontent-type: text/plain\r\n\r\n"
    assert local.exchange(chunked).endswith(b"6.0\n")
    with local.connect() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in chunked:
            client.send(bytes([byte]))
        assert read_all(client).endswith(b"6.0\n")


def test_requests_sent_ahead_are_answered_in_order(local: Local) -> None:
    ahead = [request(b"%d,0," % number) + GET_PING for number in range(200)]
    last = request(b"999,0,", b"connection: close")
    answers = local.exchange(b"".join(ahead) + last)
    assert statuses(answers) == [200] * 401
    bodies = [part.split(b"\r\n\r\n")[1] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert [float(body) for body in bodies if body] == [*map(float, range(200)), 999.0]


def test_many_clients_get_their_own_answers_in_few_evaluations(local: Local) -> None:
    before = local.model.evaluations

    def ask(number: int) -> bool:
        return local.post(b"%d,0,\n%d,1,x\n" % (number, number)) == (
            200,
            f"{float(number)}\n{float(number + 2)}\n".encode(),
        )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(400)))
    assert local.model.evaluations - before <= 400


def test_curl_agrees(local: Local) -> None:
    url = f"http://127.0.0.1:{local.port}/invocations"
    large = b"1,2,abc\n" * 200_000  # with Expect: 100-continue
    for options in (["--http1.1"], ["--http2"], ["--http1.0"]):
        command = ["curl", "-sS", *options, "-H", "content-type: text/csv", "--data-binary", "@-"]
        for body in (b"1,2,abc\n", large):
            done = subprocess.run([*command, url], input=body, capture_output=True, check=True)
            assert done.stdout == b"6.0\n" * body.count(b"\n")


@pytest.mark.parametrize("framing", [b"content-length: 7", b"transfer-encoding: chunked"])
def test_an_offer_of_another_protocol_is_passed_over(local: Local, framing: bytes) -> None:
    body = b"1,2,abc" if b"length" in framing else b"7\r\n1,2,abc\r\n0\r\n\r\n"
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAA\r\n"
    one = HEAD + offer + framing + b"\r\n\r\n" + body
    ping = GET_PING.replace(b"\r\n\r\n", b"\r\n" + offer + b"\r\n")
    answers = local.exchange(one + ping + one + b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n")
    assert statuses(answers) == [200, 200, 200, 405]
    assert answers.count(b"6.0\n") == 2


# --- the ugly side ----------------------------------------------------------------------------


def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(local: Local) -> None:
    announced = HEAD + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % (MOST + 1)
    answer = local.exchange(announced)
    assert statuses(answer) == [413]
    assert b"6291456 bytes" in answer


def test_a_body_that_is_too_large_gets_its_answer_while_it_is_sent(local: Local) -> None:
    assert statuses(local.exchange(request(b"1" * (MOST + 1)))) == [413]
    chunk = b"10000\r\n" + b"1" * 65536 + b"\r\n"
    chunked = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 97 + b"0\r\n\r\n"
    assert statuses(local.exchange(chunked)) == [413]


def test_the_largest_body_is_taken(local: Local) -> None:
    body = b"1,2,abc\n" * (MOST // 8)
    assert len(body) == MOST
    status, answer = local.post(body)
    assert status == 200
    assert answer.count(b"6.0\n") == MOST // 8


def test_endless_framing_of_little_is_refused(local: Local) -> None:
    head = HEAD + b"transfer-encoding: chunked\r\n\r\n"
    chunk = b"1;" + b"x" * 10_000 + b"\r\n1\r\n"
    assert statuses(local.exchange(head + chunk * 6_000)) == [413]


@pytest.mark.parametrize(
    "head",
    [
        b"GET /ping HTTP/1.1\r\nx: " + b"y" * 100_000,
        b"GET /ping HTTP/1.1\r\n" + b"x: yyyyyyyyyyyyyyy\r\n" * 10_000,
        b"GET /" + b"p" * 200_000,
    ],
)
def test_an_endless_head_is_refused(local: Local, head: bytes) -> None:
    with local.connect() as client:
        for start in range(0, len(head), 10_000):
            client.sendall(head[start : start + 10_000])
            time.sleep(0.002)
        assert statuses(read_all(client)) == [431]


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /invocations HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_a_400(local: Local, garbage: bytes) -> None:
    assert statuses(local.exchange(garbage)) == [400]


def test_garbage_after_a_request_does_not_take_its_answer(local: Local) -> None:
    answers = local.exchange(request(b"1,2,abc") + b"\0\0\0garbage\r\n\r\n")
    assert statuses(answers) == [200, 400]


def test_a_client_that_has_shut_its_side_still_gets_its_answer(local: Local) -> None:
    answer = local.exchange(request(b"1,2,abc"), shut=True)
    assert answer.endswith(b"6.0\n")
    assert local.exchange(request(b"1,2,abc")[:-2], shut=True) == b""


def test_a_client_that_goes_away_leaves_nothing(local: Local) -> None:
    for _ in range(20):
        with local.connect() as client:
            client.sendall(request(b"1,2,abc\n" * 1000))
    deadline = time.monotonic() + 5
    while local.server.connections and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not local.server.connections
    assert pings(local.port)


def test_a_body_that_does_not_come_is_a_408(local: Local) -> None:
    with local_server(timeout=1) as quick, quick.connect() as client:
        client.sendall(request(b"1,2,abc")[:-3])
        begin = time.monotonic()
        answer = read_all(client)
        assert statuses(answer) == [408]
        assert b"not whole after 1 s" in answer
        assert 0.9 < time.monotonic() - begin < 5


def test_a_client_that_reads_no_answer_is_let_go() -> None:
    with local_server(timeout=1) as quick, quick.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = b"1,2,abc\n" * 400_000
        sender = threading.Thread(target=send_ahead, args=(client, request(body) * 4))
        sender.start()
        deadline = time.monotonic() + 15
        while not quick.server.connections and time.monotonic() < deadline:
            time.sleep(0.01)
        while quick.server.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not quick.server.connections
        assert pings(quick.port)
        sender.join(10)


def send_ahead(client: socket.socket, data: bytes) -> None:
    try:
        client.sendall(data)
    except OSError:
        return  # let go, as it should be


def test_a_stop_answers_what_is_in_flight() -> None:
    with local_server() as stopping:
        client, idle = stopping.connect(), stopping.connect()
        whole = request(b"1,2,abc")
        client.sendall(whole[:-3])
        idle.sendall(GET_PING)
        assert idle.recv(1000)
        time.sleep(0.1)
        leaver = threading.Timer(0.5, client.sendall, [whole[-3:]])
        leaver.start()
    # The server has ended by now.
    answer = read_all(client)
    assert answer.endswith(b"6.0\n")
    assert b"connection: close" in answer
    assert read_all(idle) == b""
    assert not pings(stopping.port)
    client.close()
    idle.close()


# --- whatever comes ---------------------------------------------------------------------------

bodies = (
    st.binary(max_size=300)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    | st.lists(st.sampled_from(["1", "", "x", "NA", '"', "\n", ",", "a", "b", "word", "1e999"]))
    .map("".join)
    .map(str.encode)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["a", "b", "word", "instances"]), inner)
        ),
        max_leaves=8,
    ).map(lambda document: json.dumps(document).encode())
)
any_time = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@any_time
@given(
    body=bodies,
    content_type=st.sampled_from([CSV, JSON, "text/plain", "text/csv; charset=x", ""]),
    accept=st.sampled_from([CSV, JSON, "*/*", "", "text/html", "a;q=x", ",,"]),
)
def test_any_body_gives_200_or_4xx(
    local: Local, body: bytes, content_type: str, accept: str
) -> None:
    status, _ = local.post(body, content_type, accept=accept)
    assert status in (200, 400, 406, 415)


@any_time
@given(
    data=st.binary(max_size=200)
    | st.lists(
        st.sampled_from(
            b"GET |POST |/ping|/invocations| HTTP/1.1|\r\n|\n|: |5|content-length|expect|\0|h2c|"
            b"transfer-encoding|chunked|connection|100-continue|0|1,2,a|upgrade".split(b"|")
        ),
        max_size=25,
    ).map(b"".join)
)
def test_any_bytes_leave_the_server_well(local: Local, data: bytes) -> None:
    answers = local.exchange(data, shut=True)
    assert all(status in (100, 200) or 400 <= status < 500 for status in statuses(answers))
    assert pings(local.port)
