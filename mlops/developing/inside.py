"""A runtime whose job is attended by a person: it has a port of this machine's loopback.

Jobs have no port, servers have one; so the job is started as a server is, and waited for as a job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops.errors import UsageError
from mlops.ports import (
    ContainerRuntime,
    FoundJob,
    JobSpec,
    Mount,
    RunningServer,
    ServerSpec,
)

PORT = 5678
"""Within a container; a process is told a free port of the machine."""
ADDRESS = '"${MODEL_SERVER_HOST:-0.0.0.0}:${SAGEMAKER_BIND_TO_PORT:-5678}"'
"""Where to listen, for a shell: a process is told both variables (`runtimes.served`)."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What goes on in the place of the job's own command."""

    command: tuple[str, ...]
    attend: Callable[[RunningServer], None]
    """Is called once it has been started, and must return at once."""
    arguments: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


Change = Callable[[JobSpec], Inside]


class Attended:
    """Implements `ports.ContainerRuntime` as far as a job needs it."""

    def __init__(self, runtime: ContainerRuntime, change: Change) -> None:
        self._runtime = runtime
        self._change = change

    @property
    def name(self) -> str:
        return self._runtime.name

    @property
    def gateway_host(self) -> str:
        return self._runtime.gateway_host

    def start(self, job: JobSpec) -> RunningServer:
        if job.peers is not None:
            raise UsageError(
                "The job has several instances: a debugger or a shell goes into one",
                next_step="run the step without --debug and --shell",
            )
        inside = self._change(job)
        server = self._runtime.serve(
            ServerSpec(
                name=job.name,
                image=job.image,
                folder=job.folder,
                log=job.log,
                command=inside.command,
                arguments=inside.arguments,
                environment={**job.environment, **inside.environment},
                mounts=(*job.mounts, *inside.mounts),
                labels=job.labels,
                port=PORT,
            )
        )
        try:
            inside.attend(server)
        except BaseException:
            server.stop(0.0)
            raise
        return server

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        return self._runtime.find_jobs(labels)

    def serve(self, server: ServerSpec) -> RunningServer:
        return self._runtime.serve(server)

    def find_servers(self, labels: Mapping[str, str]) -> Sequence[RunningServer]:
        return self._runtime.find_servers(labels)

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        return self._runtime.remove_leftovers(labels)
