"""Servers as containers: a published port, and a log that no gateway need be there to read.

A job's log comes over a connection that dies with its gateway. A server's stays with the engine,
in a bounded file, and every gateway copies on from where the last one stopped.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError

from mlops.errors import MlopsError
from mlops.ports import ServerSpec
from mlops.runtimes.docker_engine import Engine, translated
from mlops.runtimes.docker_job import DockerJob
from mlops.runtimes.served import LOOPBACK, ServerRecord, WatchedServer

SERVER_LABEL = "mlops.server"
"""On every server's container: its `ServerRecord`, as JSON."""

_LOG_CONFIG = {"Type": "local", "Config": {"max-size": "10m", "max-file": "2", "compress": "false"}}
_PAUSE_SECONDS = 1.0

_logger = logging.getLogger(__name__)


def shape_server(config: dict[str, Any], server: ServerSpec, record: ServerRecord) -> None:
    """Make a job's container configuration a server's."""
    config["Labels"][SERVER_LABEL] = json.dumps(record.document())
    host = config["HostConfig"]
    host["LogConfig"] = _LOG_CONFIG
    if server.port is not None:
        config["ExposedPorts"] = {f"{server.port}/tcp": {}}
        # An empty port lets the engine choose a free one, with no race.
        host["PortBindings"] = {f"{server.port}/tcp": [{"HostIp": LOOPBACK, "HostPort": ""}]}
    if server.memory_megabytes is not None:
        host["Memory"] = server.memory_megabytes << 20
        host["MemorySwap"] = host["Memory"]  # memory and swap together: no swap


class DockerServer(DockerJob, WatchedServer):
    """A server's container, started here or found."""

    def __init__(
        self,
        engine: Engine,
        record: ServerRecord,
        container: str,
        scratch: Path,
        *,
        give: Callable[[list[Path]], None],
        forget: Callable[[str], None],
    ) -> None:
        super().__init__(engine, record.job, container, scratch, give=give, forget=forget)
        self.labels: Mapping[str, str] = record.job.labels
        self.address: str | None = None
        self._port = record.port
        self._since = 0.0
        self._process: int | None = None

    def start(self) -> None:
        with translated(
            f"The container of server {self.name} cannot be started",
            next_step="check the image and its command",
        ):
            self._engine.client.start(self.container)
        self._find_address()
        self.watch()

    def adopt(self) -> None:
        """Watch a container that an earlier gateway started."""
        self._since = _last_written(self._job.log)
        self._find_address()
        self.watch()

    def _main_process(self) -> int | None:
        if self._process is None:
            with suppress(MlopsError), translated(f"Server {self.name} cannot be looked at"):
                state = self._engine.client.inspect_container(self.container)["State"]
                self._process = int(state["Pid"])
        # The engine of another machine counts other processes.
        return self._process if self._process and _is_in(self._process, self.container) else None

    def _find_address(self) -> None:
        if self._port is None:
            return
        with translated(f"The port of server {self.name} cannot be found"):
            network = self._engine.client.inspect_container(self.container)["NetworkSettings"]
        bindings = (network.get("Ports") or {}).get(f"{self._port}/tcp") or []
        for binding in bindings:
            if binding.get("HostIp") == LOOPBACK:
                self.address = f"{LOOPBACK}:{binding['HostPort']}"

    def _copy_log(self) -> None:
        """Copy the log until the container has ended; go on where the copy stopped."""
        since = self._since
        while True:
            try:
                self._copy(since)
            except OSError as error:
                # A full disk, mostly. The server goes on, and the engine keeps what it says.
                _logger.warning("the log of server %s breaks off: %s", self.name, error)
            if not self._runs():
                return
            time.sleep(_PAUSE_SECONDS)  # or the engine broke the connection
            since = _last_written(self._job.log)

    def _copy(self, since: float) -> None:
        with self._job.log.open("ab", buffering=0) as log:
            for data in self._frames(since):
                log.write(data)

    def _frames(self, since: float) -> Iterator[bytes]:
        with translated(f"The log of server {self.name} cannot be read"):
            frames: Iterator[bytes] = self._engine.client.logs(
                self.container, stream=True, follow=True, since=since or None
            )
        try:
            yield from frames
        except HTTPError:
            return  # the connection broke; whether the container has ended is seen next

    def _runs(self) -> bool:
        try:
            with translated(f"Server {self.name} cannot be looked at"):
                state = self._engine.client.inspect_container(self.container)["State"]
        except MlopsError:
            return False  # asking how it ended tells why
        return bool(state["Running"])


def _is_in(process: int, container: str) -> bool:
    """Whether a process of this machine is a container's: its control group is named after it."""
    try:
        groups = Path(f"/proc/{process}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return False
    return container in groups


def _last_written(log: Path) -> float:
    return log.stat().st_mtime if log.exists() else 0.0


def describe_container(container: Mapping[str, Any]) -> ServerRecord | None:
    """The record of a listed container; None where it is no server's."""
    text = container["Labels"].get(SERVER_LABEL)
    return None if text is None else ServerRecord.read(json.loads(text))
