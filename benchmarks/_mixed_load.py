"""Clients that write, read and invoke at once.

`python -m benchmarks._mixed_load URL CLIENTS SECONDS`

A program of its own, so that it outlives the gateway that it is a load for. Every client has one
connection and does one thing after the other: puts an object or overwrites it, reads it back (its
own last write has to be there), creates a model package group, describes one, tags it, lists a
page, invokes the endpoint ``e``. It ends when the time is up, or when the gateway is gone.

Prints a JSON line: how many answers of each kind and their quantiles, every answer that was wrong,
and of each object and group what was acknowledged and what was under way at the end.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

KEYS = 3  # of each client: most puts overwrite
MOST_BYTES = 16 * 1024
BUCKET = "load"


class Gone(Exception):
    """The gateway has closed the connection without an answer."""


class Connection:
    """HTTP/1.1 over one connection, as far as the gateway's answers need it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.closed = 0

    async def open(self) -> None:
        try:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        except OSError as error:
            raise Gone from error

    async def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[int, bytes]:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        try:
            self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
            await self._writer.drain()
            return await self._answer()
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Gone from error

    async def _answer(self) -> tuple[int, bytes]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
        fields = {name.strip().lower(): value.strip() for name, _, value in lines}
        if fields.get(b"transfer-encoding") == b"chunked":
            body = await self._chunks()
        else:
            body = await self._reader.readexactly(int(fields.get(b"content-length", 0)))
        if fields.get(b"connection", b"").lower() == b"close":
            self._writer.close()
            self.closed += 1
            await self.open()
        return status, body

    async def _chunks(self) -> bytes:
        whole = b""
        while size := int(await self._reader.readline(), 16):
            whole += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return whole


class Client:
    """One client, and what it knows of its own writes."""

    def __init__(self, number: int, connection: Connection) -> None:
        self._number = number
        self.connection = connection
        self._rng = random.Random(number)
        self.acknowledged: dict[str, int] = {}
        self.under_way: dict[str, int] = {}
        self.groups: list[str] = []
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self._count = 0

    async def work(self, end: float) -> bool:
        """Until `end`; False when the gateway was gone before."""
        actions: list[Callable[[], Awaitable[None]]] = [
            self.put, self.put, self.get, self.create_group, self.describe, self.list, self.invoke,
            self.invoke,
        ]  # fmt: skip
        try:
            await self.connection.open()
            while time.perf_counter() < end:
                action = self._rng.choice(actions)
                begin = time.perf_counter()
                await action()
                self.seconds[action.__name__].append(time.perf_counter() - begin)
        except Gone:
            return False
        return True

    async def put(self) -> None:
        key = f"{self._number}/{self._rng.randrange(KEYS)}"
        self._count += 1
        self.under_way[key] = self._count
        body = self._content(key, self._count)
        answer = await self.connection.ask(
            "PUT", f"/{BUCKET}/{key}", body, x_amz_meta_count=str(self._count)
        )
        if self._right("put", answer):
            self.acknowledged[key] = self._count
        del self.under_way[key]

    async def get(self) -> None:
        if not self.acknowledged:
            return
        key = self._rng.choice(list(self.acknowledged))
        answer = await self.connection.ask("GET", f"/{BUCKET}/{key}")
        if self._right("get", answer) and answer[1] != self._content(key, self.acknowledged[key]):
            self.wrong.append(f"get {key}: not what was last written: {answer[1][:60]!r}")

    async def create_group(self) -> None:
        self._count += 1
        name = f"group-{self._number}-{self._count}"
        document = {"ModelPackageGroupName": name, "Tags": [{"Key": "by", "Value": "load"}]}
        if self._right("create_group", await self._call("CreateModelPackageGroup", document)):
            self.groups.append(name)

    async def describe(self) -> None:
        if self.groups:
            name = self._rng.choice(self.groups)
            document = {"ModelPackageGroupName": name}
            self._right("describe", await self._call("DescribeModelPackageGroup", document))

    async def list(self) -> None:
        document = {"MaxResults": 10, "SortBy": "CreationTime", "SortOrder": "Descending"}
        self._right("list", await self._call("ListModelPackageGroups", document))

    async def invoke(self) -> None:
        row = f"{self._number},{self._count}".encode()
        answer = await self.connection.ask(
            "POST", "/endpoints/e/invocations", row, content_type="text/csv"
        )
        if self._right("invoke", answer) and not answer[1].endswith(row):
            self.wrong.append(f"invoke: the answer to another request: {answer[1][:60]!r}")

    async def _call(self, operation: str, document: dict[str, Any]) -> tuple[int, bytes]:
        return await self.connection.ask(
            "POST",
            "/",
            json.dumps(document).encode(),
            x_amz_target=f"SageMaker.{operation}",
            content_type="application/x-amz-json-1.1",
        )

    def _right(self, what: str, answer: tuple[int, bytes]) -> bool:
        if answer[0] == 200:
            return True
        self.wrong.append(f"{what}: {answer[0]} {answer[1][:300]!r}")
        return False

    def _content(self, key: str, count: int) -> bytes:
        return content_of(key, count)


def content_of(key: str, count: int) -> bytes:
    """The body of the put number `count`: whoever reads it can tell which one it is."""
    text = f"{key}#{count};".encode()
    return text * (1 + count * 7919 % MOST_BYTES // len(text))


def quantiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "count": len(ordered),
        **{f"p{q}_ms": round(1e3 * ordered[len(ordered) * q // 100], 2) for q in (50, 99)},
    }


async def load(url: str, clients: int, seconds: float) -> dict[str, Any]:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    everyone = [Client(n, Connection(parts.hostname, parts.port)) for n in range(clients)]
    begin = time.perf_counter()
    finished = await asyncio.gather(*(client.work(begin + seconds) for client in everyone))
    elapsed = time.perf_counter() - begin
    actions: dict[str, list[float]] = defaultdict(list)
    for client in everyone:
        for name, taken in client.seconds.items():
            actions[name] += taken
    total = sum(len(taken) for taken in actions.values())
    return {
        "seconds": round(elapsed, 2),
        "requests_per_second": round(total / elapsed),
        "actions": {name: quantiles(taken) for name, taken in sorted(actions.items())},
        "gone": finished.count(False),
        "closed": sum(client.connection.closed for client in everyone),
        "wrong": [text for client in everyone for text in client.wrong],
        "acknowledged": {k: n for client in everyone for k, n in client.acknowledged.items()},
        "under_way": {k: n for client in everyone for k, n in client.under_way.items()},
        "groups": [name for client in everyone for name in client.groups],
    }


if __name__ == "__main__":
    address, how_many, how_long = sys.argv[1:]
    print(json.dumps(asyncio.run(load(address, int(how_many), float(how_long)))))
