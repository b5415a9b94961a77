"""The server of one process: its connections, the clock, and a graceful end."""

import asyncio
import email.utils
import os
import time

from serving.batching import Batcher
from serving.protocol import Connection
from serving.routes import Invocations

DRAIN_SECONDS = 8
"""So long do requests in flight have after SIGTERM: less than Docker's 10 s before SIGKILL."""


class Server:
    """Answers on a bound socket with a loaded model until `stop()`."""

    def __init__(self, model, settings, launcher=None):
        """`launcher` is the process whose end ends this one, too."""
        self.model = model
        self.timeout = settings.timeout
        self.access_log = settings.access_log
        self.invocations = Invocations(model.inputs)
        self.launcher = launcher
        self.connections = set()
        self.draining = False
        self.date = email.utils.formatdate(usegmt=True)

    async def run(self, sock, ready):
        """Serve; `ready` is called once the socket listens. Returns after a graceful end."""
        loop = asyncio.get_running_loop()
        self.batcher = Batcher(self.model.predict, loop.call_soon)
        self.stopped = asyncio.Event()
        listener = await loop.create_server(lambda: Connection(self), sock=sock, backlog=1024)
        ready()
        clock = loop.create_task(self.tick())
        await self.stopped.wait()
        await self.drain(listener)
        clock.cancel()

    def stop(self):
        """End gracefully. In the loop's thread only, once it serves."""
        self.stopped.set()

    async def tick(self):
        while True:
            await asyncio.sleep(1)
            self.date = email.utils.formatdate(usegmt=True)
            if self.launcher not in (None, os.getppid()):
                self.stop()  # it was killed: do not keep its port
            now = time.monotonic()
            for connection in list(self.connections):
                connection.check_time(now)

    async def drain(self, listener):
        """Answer what has arrived, take nothing new."""
        self.draining = True
        listener.close()
        await asyncio.sleep(0.05)  # what lies in the sockets is read first
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.connections and time.monotonic() < deadline:
            for connection in list(self.connections):
                if connection.idle:
                    connection.transport.close()
            await asyncio.sleep(0.02)

    def forget(self, connection):
        self.connections.discard(connection)

    def log_access(self, method, path, answer, since):
        if self.access_log:
            taken = "-" if since is None else f"{(time.monotonic() - since) * 1000:.1f} ms"
            print(f"{method} {path} {answer.status} {len(answer.body)} bytes {taken}", flush=True)
