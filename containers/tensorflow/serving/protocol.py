"""One HTTP/1.1 connection: whole requests out of bytes, answers in the order of the requests.

httptools (Node's llhttp) parses; it refuses ambiguous framing. Here is what a parser leaves open:
limits on head and body, time-outs, pipelined requests, `Expect: 100-continue`, refusing a body
early without losing the answer, and the end of the connection.
"""

import asyncio
import contextlib
import http
import sys
import time
import traceback
from collections import deque

import httptools

from serving.problems import RequestProblem
from serving.routes import Answer, check_path, predictions_answer, refusal

MOST_BODY_BYTES = 6 * 1024 * 1024
"""What InvokeEndpoint takes (botocore sagemaker-runtime, shape BodyBlob: max 6291456)."""
MOST_HEAD_BYTES = 64 * 1024
MOST_MESSAGE_BYTES = 8 * MOST_BODY_BYTES
"""Of one request as it travels: chunks of a byte or two are mostly their own framing."""
MOST_PIPELINED = 16
KEEP_ALIVE_SECONDS = 300
"""A connection without a request lives so long: longer than clients keep one in their pools."""
LINGER_SECONDS = 2
"""After a refusal the rest of a request is read and dropped for so long: closing at once would
reset the connection and could take the answer from the client."""

REASONS = {status.value: status.phrase for status in http.HTTPStatus}


class Request:
    """A whole request: what of its head an answer depends on, and its body."""

    __slots__ = (
        "accept",
        "body",
        "content_type",
        "encoding",
        "keep_alive",
        "method",
        "path",
        "since",
    )


class Connection(asyncio.Protocol):
    """The transport calls it with bytes, the parser with their parts; it answers one by one."""

    def __init__(self, server):
        self.server = server
        self.transport = None
        self.parser = httptools.HttpRequestParser(self)
        self.waiting = deque()  # whole requests, not yet begun
        self.busy = False  # a request is being answered
        self.reading_head = False
        self.head_bytes = 0
        self.message_bytes = 0
        self.started = None  # when the first byte of an unfinished request came
        self.idle_since = time.monotonic()
        self.stalled_since = None  # when the client stopped reading its answers
        self.last_request = False  # no more requests after those that wait
        self.sender_ended = False  # the client has shut its side
        self.refused = None  # the Answer to what cannot be taken, after those that wait
        self.lingering_since = None

    # --- the transport's calls ---

    def connection_made(self, transport):
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, _):
        self.server.forget(self)
        self.transport = self.parser = None  # the parser refers back to this object

    def pause_writing(self):
        self.stalled_since = time.monotonic()

    def resume_writing(self):
        self.stalled_since = None
        self.next_request()

    def data_received(self, data):
        if self.last_request or self.transport is None:
            return  # dropped
        was_reading_head = self.reading_head
        self.message_bytes += len(data)
        try:
            self.feed(data)
        except httptools.HttpParserCallbackError:
            traceback.print_exc(file=sys.stderr)
            self.refuse(500, "the server failed; see its log")
        except httptools.HttpParserError as error:
            self.refuse(400, f"the request is not HTTP/1.1: {str(error)[:100]}")
        if was_reading_head and self.reading_head:
            self.head_bytes += len(data)
            if self.head_bytes > MOST_HEAD_BYTES:
                self.refuse_head()
        elif self.message_bytes > MOST_MESSAGE_BYTES:
            self.refuse_body()
        self.next_request()

    def feed(self, data):
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as offer:
                data = self.without_upgrade(data[offer.args[0] :])

    def without_upgrade(self, rest):
        """The request once more, less its offer of another protocol, and what came after its head.

        Some clients offer HTTP/2 with each request (`curl --http2`, Java's). The offer may be
        passed over (RFC 9110, 7.8); but the parser then takes the body for the other protocol.
        """
        if self.method == "CONNECT":
            self.refuse(405, "CONNECT is not served")
        if self.last_request:
            return b""
        kept = [h for h in self.headers if h[0].lower() not in (b"upgrade", b"connection")]
        lines = [b"%s %s HTTP/1.1" % (self.method.encode("latin-1"), self.url)]
        lines += [name + b": " + value for name, value in kept]
        self.parser = httptools.HttpRequestParser(self)
        return b"\r\n".join([*lines, b"", b""]) + rest

    def eof_received(self):
        """The client has shut its side, as `nc -N` does; it may still read answers."""
        self.sender_ended = True
        return self.busy or bool(self.waiting) or self.refused is not None

    # --- the parser's calls ---

    def on_message_begin(self):
        self.started = time.monotonic()
        self.reading_head = True
        self.head_bytes = self.message_bytes = 0
        self.url = b""
        self.headers = []
        self.accept = self.content_type = self.encoding = None
        self.expects_continue = False
        self.announced = 0
        self.body = []
        self.body_bytes = 0

    def on_url(self, url):
        self.url += url

    def on_header(self, name, value):
        if not self.reading_head:
            return  # a trailer of a chunked body changes nothing
        self.head_bytes += len(name) + len(value)
        self.headers.append((name, value))
        name = name.lower()
        if name == b"content-type":
            self.content_type = value
        elif name == b"accept":
            self.accept = value if self.accept is None else self.accept + b"," + value
        elif name == b"content-encoding":
            self.encoding = value
        elif name == b"content-length":
            self.announced = int(value)  # the parser has checked it
        elif name == b"expect":
            self.expects_continue = value.lower() == b"100-continue"

    def on_headers_complete(self):
        self.reading_head = False
        self.method = self.parser.get_method().decode("latin-1")
        self.path = path_of(self.url)
        if self.head_bytes > MOST_HEAD_BYTES:
            self.refuse_head()
        if self.last_request or self.parser.should_upgrade():
            return
        try:
            check_path(self.method, self.path)
        except RequestProblem as problem:
            if self.announced or self.expects_continue:
                self.refuse_with(refusal(problem))  # do not wait for a body in vain
            return
        if self.announced > MOST_BODY_BYTES:
            self.refuse_body()
        elif self.expects_continue and not self.busy and not self.waiting:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body):
        self.body_bytes += len(body)
        if self.body_bytes > MOST_BODY_BYTES:
            self.refuse_body()
        else:
            self.body.append(body)

    def on_message_complete(self):
        if self.last_request or self.parser.should_upgrade():
            return
        request = Request()
        request.method, request.path = self.method, self.path
        request.content_type, request.accept = self.content_type, self.accept
        request.encoding = self.encoding
        request.body = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        request.keep_alive = self.parser.should_keep_alive()
        request.since = self.started
        self.started = None
        self.body = []
        self.last_request = not request.keep_alive
        self.waiting.append(request)
        if len(self.waiting) >= MOST_PIPELINED:
            self.transport.pause_reading()

    def refuse_head(self):
        self.refuse(431, f"the request's head is longer than {MOST_HEAD_BYTES} bytes")

    def refuse_body(self):
        self.refuse(413, f"the body is larger than {MOST_BODY_BYTES} bytes (6 MB)")

    def refuse(self, status, message):
        self.refuse_with(refusal(RequestProblem(status, message)))

    def refuse_with(self, answer):
        """Answer what cannot be taken, after the requests before it, and end the connection."""
        if not self.last_request:
            self.last_request = True
            self.started = None
            self.body = []
            self.refused = answer

    # --- answers ---

    def next_request(self):
        """Begin the next request that waits, unless one is being answered or nobody reads."""
        while not self.busy and self.stalled_since is None and self.transport is not None:
            if self.waiting:
                self.begin(self.waiting.popleft())
            elif self.refused is not None:
                answer, self.refused = self.refused, None
                self.write(answer, keep_alive=False, head_only=False)
                self.server.log_access("-", "-", answer, None)
                self.linger()
            else:
                break

    def begin(self, request):
        if len(self.waiting) == MOST_PIPELINED - 1 and not self.last_request:
            self.transport.resume_reading()
        self.busy = True
        try:
            check_path(request.method, request.path)
            if request.path == "/ping":
                self.finish(request, Answer(200, "text/plain", b""))
                return
            columns, form = self.server.invocations.read(
                request.body, request.content_type, request.accept, request.encoding
            )
        except RequestProblem as problem:
            self.finish(request, refusal(problem))
        except Exception:  # noqa: BLE001 (a defect: told in the log, and the server lives on)
            traceback.print_exc(file=sys.stderr)
            self.finish(request, refusal(RequestProblem(500, "the server failed; see its log")))
        else:
            request.body = None
            self.server.batcher.add(columns, lambda values: self.predicted(request, form, values))

    def predicted(self, request, form, values):
        if values is None:
            answer = refusal(RequestProblem(500, "the model failed; see the server's log"))
        else:
            try:
                answer = predictions_answer(values, form)
            except RequestProblem as problem:
                answer = refusal(problem)
        self.finish(request, answer)
        self.next_request()

    def finish(self, request, answer):
        self.busy = False
        if self.transport is None:
            return  # the client is gone
        more = bool(self.waiting) or self.refused is not None
        ending = self.server.draining or self.sender_ended
        keep_alive = request.keep_alive and (more or not ending)
        self.write(answer, keep_alive, request.method == "HEAD")
        self.server.log_access(request.method, request.path, answer, request.since)
        if not keep_alive:
            self.last_request = True
            self.transport.close()  # after the answer has been sent

    def write(self, answer, keep_alive, head_only):
        head = (
            f"HTTP/1.1 {answer.status} {REASONS[answer.status]}\r\n"
            f"date: {self.server.date}\r\n"
            f"content-type: {answer.content_type}; charset=utf-8\r\n"
            f"content-length: {len(answer.body)}\r\n"
            + ("" if keep_alive else "connection: close\r\n")
            + "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
            + "\r\n"
        ).encode("latin-1")
        self.transport.write(head if head_only else head + answer.body)
        self.idle_since = time.monotonic()

    def linger(self):
        self.lingering_since = time.monotonic()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    # --- time ---

    @property
    def idle(self):
        return not self.busy and not self.waiting and self.started is None

    def check_time(self, now):
        """End what takes too long: called every second."""
        timeout = self.server.timeout
        if self.transport is None:
            return
        if self.lingering_since is not None:
            if now - self.lingering_since > LINGER_SECONDS:
                self.transport.abort()
        elif self.stalled_since is not None or self.transport.is_closing():
            if now - (self.stalled_since or self.idle_since) > timeout:
                self.transport.abort()
        elif self.started is not None:
            if now - self.started > timeout:
                self.refuse(408, f"the request was not whole after {timeout} s")
                self.next_request()
        elif self.idle and now - self.idle_since > KEEP_ALIVE_SECONDS:
            self.transport.close()


def path_of(url):
    """The path of a request target, which may be a whole URL (RFC 9112, 3.2.2)."""
    if not url.startswith(b"/"):
        with contextlib.suppress(httptools.HttpParserInvalidURLError):  # then it is none of ours
            url = httptools.parse_url(url).path or b"/"
    return url.split(b"?")[0].decode("latin-1")
