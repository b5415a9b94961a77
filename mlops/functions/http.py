"""The little of HTTP/1.1 that a function's runtime speaks, served from one event loop.

A runtime waits minutes in one request for its next event: on an event loop a waiting connection
costs no thread, and it is seen at once when the runtime behind it dies.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeVar

HEAD_LIMIT = 2 * 1024 * 1024
"""Bytes of a request's head: a runtime may put a megabyte of X-Ray cause into a header."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes
    too_large: bool = False
    """The body was over the limit and has been dropped."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, status: int, document: object) -> Response:
        return cls(status, json.dumps(document).encode())

    def encoded(self) -> bytes:
        head = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            f"Content-Length: {len(self.body)}",
        ]
        if "Content-Type" not in self.headers:
            head.append("Content-Type: application/json")
        return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + self.body


Handler = Callable[[Request], Awaitable[Response]]


class EventLoop:
    """An event loop in a thread of its own, for every server of a gateway's functions."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="functions", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run `work` on the loop; its result. Not to be called on the loop itself."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the loop call `function`, from any thread."""
        with suppress(RuntimeError):  # closed meanwhile: nobody waits for the result
            self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        self.call(self._loop.stop)
        self._thread.join()


class HttpServer:
    """Answers the connections of one listening socket."""

    def __init__(self, loop: EventLoop, bound: socket.socket, handler: Handler, limit: int) -> None:
        """`limit`: bytes of a body; a larger one is read and dropped."""
        self._loop = loop
        self._handler = handler
        self._limit = limit
        self._connections: set[asyncio.Task[None]] = set()
        self._server = loop.run(asyncio.start_server(self._serve, sock=bound, limit=HEAD_LIMIT))

    def close(self) -> None:
        """Close the socket and every connection, as soon as the loop comes to it."""
        self._loop.call(self._close)

    def _close(self) -> None:
        self._server.close()
        for connection in tuple(self._connections):
            connection.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
            pass  # the other side has gone, or does not speak HTTP
        except asyncio.CancelledError:
            pass  # closed from here; asyncio's streams would report a cancelled task as a failure
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path, headers = parse_head(head)
        if "100-continue" in headers.get("expect", "").lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, too_large = await self._read_body(reader, headers)
        answer = asyncio.ensure_future(
            self._handler(Request(method, path, headers, body, too_large))
        )
        await self._until_answered(answer, reader)
        writer.write((await answer).encoded())
        await writer.drain()
        return headers.get("connection", "").lower() != "close"

    async def _until_answered(
        self, answer: asyncio.Future[Response], reader: asyncio.StreamReader
    ) -> None:
        """Wait for the answer; a client that closes its side meanwhile waits for none."""
        await asyncio.sleep(0)  # most answers are there by now
        if answer.done():
            return
        more = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((answer, more), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise asyncio.IncompleteReadError(b"", None)
        finally:
            for future in (more, answer):
                if not future.done():
                    future.cancel()
            # The cancelled read has to let go of the stream before the next one begins.
            await asyncio.gather(more, return_exceptions=True)

    async def _read_body(
        self, reader: asyncio.StreamReader, headers: Mapping[str, str]
    ) -> tuple[bytes, bool]:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return await self._read_chunks(reader)
        length = int(headers.get("content-length", 0))
        if length <= self._limit:
            return await reader.readexactly(length), False
        while length:
            length -= len(await reader.readexactly(min(length, 1 << 16)))
        return b"", True

    async def _read_chunks(self, reader: asyncio.StreamReader) -> tuple[bytes, bool]:
        parts: list[bytes] = []
        total = 0
        while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            part = await reader.readexactly(size)
            await reader.readexactly(2)
            total += size
            if total <= self._limit:
                parts.append(part)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass  # trailers
        return (b"".join(parts), False) if total <= self._limit else (b"", True)


def parse_head(head: str) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers (by lower-case name) of a request.

    Raises:
        ValueError: it is no HTTP.
    """
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return method, target.partition("?")[0], headers
