"""What servers have beyond jobs, in every runtime: a port, and a face that outlives a gateway."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.ports import JobOutcome, JobSpec, JsonObject, Mount, MountMode, ServerSpec
from mlops.runtimes.process_tree import peak_megabytes
from mlops.runtimes.watched import WatchedJob

LOOPBACK = "127.0.0.1"
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"
"""Tells a server its port where it cannot have one of its own (the inference toolkit's name)."""


HOST_VARIABLE = "MODEL_SERVER_HOST"
"""Tells a server the address to listen on where it shares the host's: the loopback alone."""


class WatchedServer(WatchedJob):
    """The part of `mlops.ports.RunningServer` that a runtime's own kind of job does not have."""

    labels: Mapping[str, str]
    address: str | None

    def poll(self) -> JobOutcome | None:
        """As `mlops.ports.RunningServer.poll`."""
        return self.wait(0)

    def peak_megabytes(self) -> int | None:
        """As `mlops.ports.RunningServer.peak_megabytes`."""
        process = self._main_process()
        return None if process is None else peak_megabytes(process)

    def _main_process(self) -> int | None:
        """The server's main process, by this machine's count; None where it has none here."""
        return None


def as_job(server: ServerSpec, port: int | None = None) -> JobSpec:
    """The server as a job; told in its environment to listen on the host's own `port`, if any."""
    told = {} if port is None else {PORT_VARIABLE: str(port), HOST_VARIABLE: LOOPBACK}
    return JobSpec(
        name=server.name,
        image=server.image,
        folder=server.folder,
        log=server.log,
        command=server.command,
        arguments=server.arguments,
        environment={**server.environment, **told},
        mounts=server.mounts,
        labels=server.labels,
    )


def free_port() -> int:
    """A port of the loopback interface that nobody has: a moment later somebody may."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """What has to be known of a server, or a job, to find it again, kept where it is itself."""

    job: JobSpec
    port: int | None

    def document(self) -> JsonObject:
        return {
            "name": self.job.name,
            "image": self.job.image,
            "folder": os.fspath(self.job.folder),
            "log": os.fspath(self.job.log),
            "labels": dict(self.job.labels),
            "outcome": None if self.job.outcome is None else os.fspath(self.job.outcome),
            "written": [
                [os.fspath(mount.source), mount.target]
                for mount in self.job.mounts
                if mount.mode is MountMode.READ_WRITE
            ],
            "port": self.port,
        }

    @classmethod
    def read(cls, document: JsonObject) -> ServerRecord:
        """The record again, of the mounts those that the server could write through."""
        written = (
            Mount(Path(source), target, MountMode.READ_WRITE)
            for source, target in document["written"]
        )
        outcome = document.get("outcome")
        job = JobSpec(
            name=document["name"],
            image=document["image"],
            folder=Path(document["folder"]),
            log=Path(document["log"]),
            labels=document["labels"],
            mounts=tuple(written),
            outcome=None if outcome is None else Path(outcome),
        )
        return cls(job, document["port"])
