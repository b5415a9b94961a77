"""A load generator in a process of its own: `python -m benchmarks._http_load PORT FILE …`.

It keeps some connections busy with POST /invocations for some seconds and prints a JSON line:
requests a second and the quantiles of their latency in milliseconds. One core of it makes about
20,000 requests a second; a server that is as quick is limited by it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import cast

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


class Client(asyncio.Protocol):
    """One connection: the next request goes out when the answer to the last one is whole."""

    def __init__(self, bodies: list[bytes], offset: int, end: float) -> None:
        head = b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\n"
        self.requests = [b"%scontent-length: %d\r\n\r\n%s" % (head, len(b), b) for b in bodies]
        self.next = offset
        self.end = end
        self.taken: list[float] = []
        self.done = asyncio.get_running_loop().create_future()
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.requests[self.next % len(self.requests)])
        self.next += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if not found or length is None or len(body) < int(length[1]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(self.received.decode(errors="replace")))
            self.transport.close()
            return
        now = time.perf_counter()
        self.taken.append(now - self.sent)
        self.received = b""
        if now < self.end:
            self.send()
        else:
            self.transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server closed the connection"))


async def load(
    port: int, bodies: list[bytes], connections: int, seconds: float
) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    clients = [
        (await loop.create_connection(make, "127.0.0.1", port))[1]
        for make in (
            lambda offset=offset: Client(bodies, offset * 37, begin + seconds)
            for offset in range(connections)
        )
    ]
    await asyncio.gather(*(client.done for client in clients))
    taken = sorted(value for client in clients for value in client.taken)
    elapsed = time.perf_counter() - begin
    return {
        "requests_per_second": len(taken) / elapsed,
        **{f"p{q}_ms": taken[len(taken) * q // 100] * 1000 for q in (50, 95, 99)},
    }


def main() -> None:
    import uvloop

    port, connections, seconds, rows, file = sys.argv[1:]
    lines = Path(file).read_bytes().splitlines(keepends=True)
    size = int(rows)
    bodies = [b"".join(lines[at : at + size]) for at in range(0, len(lines) - size + 1, size)]
    print(json.dumps(uvloop.run(load(int(port), bodies, int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
