"""Jobs as Docker containers, by the engine's own API.

One job is few calls: create, attach, start, wait and inspect once the log has ended, remove. The
exit status is the engine's word and nobody else's.

Who the container runs as decides who owns what it leaves. An image that `containers/` defines, or
that names a user of its own, runs as the caller. Every other image expects to be root, as on
SageMaker: it stays root, and what it wrote is handed to the caller at the end.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from mlops.errors import JobError, MlopsError
from mlops.ports import FoundJob, ImageSource, JobSpec, Mount, Peers, ServerSpec
from mlops.runtimes.docker_engine import Engine, find_engine, translated
from mlops.runtimes.docker_found import (
    GOING,
    LOG_CONFIG,
    NEVER_STARTED,
    RECORD_LABEL,
    FoundDockerJob,
    described_job,
    record_of,
)
from mlops.runtimes.docker_job import DockerJob, remove_container
from mlops.runtimes.docker_mounts import bind, docker_mounts
from mlops.runtimes.docker_network import JobNetworks
from mlops.runtimes.docker_pulling import registry_image
from mlops.runtimes.docker_server import (
    SERVER_LABEL,
    DockerServer,
    describe_container,
    shape_server,
)
from mlops.runtimes.layout import os_error, prepare, remove_tree
from mlops.runtimes.ownership import hand_over
from mlops.runtimes.passed_on import container_network
from mlops.runtimes.served import ServerRecord, as_job
from mlops.settings import Settings

JOB_LABEL = "mlops.job"
"""On every container of a job: the job's name."""
SCRATCH_LABEL = "mlops.scratch"
"""On every container of a job: its folder's name below `<store>/runtime/docker`."""

_SHARED_MEMORY_BYTES = 1 << 30  # Docker's 64 MB are too few for data loaders; it is only a limit


@dataclass(frozen=True, slots=True)
class _Abilities:
    """What the engine can do, until a start has shown that it cannot."""

    overlay: bool = True
    init: bool = True
    """Run an init as process 1, so that SIGTERM ends a job that does not handle it."""

    def without_what_failed(self, text: str) -> _Abilities | None:
        """What is left after a start failed with `text`; None when it was not for these."""
        if self.overlay and re.search(r"mounting volume|failed to mount", text):
            return _Abilities(overlay=False, init=self.init)
        if self.init and "docker-init" in text:
            return _Abilities(overlay=self.overlay, init=False)
        return None


@dataclass(frozen=True, slots=True)
class _Image:
    """The local image that stands for a job's image URI, and as whom it runs."""

    reference: str
    user: str | None
    next_step: str


Started = TypeVar("Started", bound=DockerJob)


def _record(job: JobSpec, config: dict[str, Any]) -> None:
    """Let a job's container say what it is, to be found again."""
    config["Labels"][RECORD_LABEL] = record_of(job)


class DockerRuntime:
    """Runs jobs in containers. Implements `mlops.ports.ContainerRuntime`.

    Args:
        settings: the image table, and the state folder that holds the jobs' scratch.
        engine: by default the one that `find_engine` finds.
        overlay: whether to try overlays for copy-on-write; without, inputs are copied.
        images: what the gateway's own registry has; None where there is no gateway.
    """

    name = "docker"

    def __init__(
        self,
        settings: Settings,
        engine: Engine | None = None,
        *,
        overlay: bool = True,
        images: ImageSource | None = None,
    ) -> None:
        self.engine = engine or find_engine()
        self._images = images
        self._settings = settings
        self._scratch = settings.store.absolute() / "runtime/docker"
        self._abilities = _Abilities(overlay=overlay)
        self._networks = JobNetworks(self.engine)
        self._running: dict[str, DockerJob] = {}
        self._lock = threading.Lock()

    @property
    def gateway_host(self) -> str:
        return self.engine.gateway_host

    @property
    def overlays_work(self) -> bool:
        """Whether overlays are still tried: False once the engine has refused one."""
        return self._abilities.overlay

    def start(self, job: JobSpec) -> DockerJob:
        """As `mlops.ports.ContainerRuntime.start`."""
        peers = job.peers
        if peers is None:
            return self._start(job, partial(_record, job), partial(DockerJob, self.engine, job))

        def shape(config: dict[str, Any]) -> None:
            _record(job, config)
            self._networks.enter(config, job, peers)

        try:
            return self._start(
                job,
                shape,
                partial(self._peer, job, peers),
            )
        except MlopsError:
            self._networks.leave(peers)
            raise

    def _peer(
        self,
        job: JobSpec,
        peers: Peers,
        container: str,
        scratch: Path,
        *,
        give: Callable[[list[Path]], None],
        forget: Callable[[str], None],
    ) -> DockerJob:
        def forget_and_leave(gone: str) -> None:
            forget(gone)
            self._networks.leave(peers)

        return DockerJob(self.engine, job, container, scratch, give=give, forget=forget_and_leave)

    def find_jobs(self, labels: Mapping[str, str]) -> Sequence[FoundJob]:
        """As `mlops.ports.ContainerRuntime.find_jobs`."""
        found = []
        for container in self._containers(RECORD_LABEL, labels):
            if container["State"] in NEVER_STARTED and container["Id"] not in self._running:
                self._remove_leftover(container)
            elif container["State"] not in GOING:
                found.append(self._found(container))
        return found

    def _found(self, container: Mapping[str, Any]) -> FoundJob:
        labels, job = container["Labels"], described_job(container)
        with self._lock:
            running = self._running.get(container["Id"])
            if running is not None:
                return FoundJob(job.name, job.labels, running)
            found = FoundDockerJob(
                self.engine,
                job,
                container["Id"],
                self._scratch / Path(labels[SCRATCH_LABEL] or "none").name,
                give=lambda places: self._give(places, container["Image"], job.labels),
                forget=lambda gone: self._forget_found(gone, job),
            )
            self._running[container["Id"]] = found
        found.watch()
        return FoundJob(job.name, job.labels, found)

    def _forget_found(self, container: str, job: JobSpec) -> None:
        self._forget(container)
        self._networks.remove_leftovers(job.labels)  # with its last container the network goes

    def serve(self, server: ServerSpec) -> DockerServer:
        """As `mlops.ports.ContainerRuntime.serve`."""
        record = ServerRecord(as_job(server), server.port)
        return self._start(
            record.job,
            lambda config: shape_server(config, server, record),
            partial(DockerServer, self.engine, record),
        )

    def find_servers(self, labels: Mapping[str, str]) -> Sequence[DockerServer]:
        """As `mlops.ports.ContainerRuntime.find_servers`."""
        return [
            self._adopted(container, record)
            for container in self._containers(SERVER_LABEL, labels)
            if (record := describe_container(container)) is not None
        ]

    def _adopted(self, container: Mapping[str, Any], record: ServerRecord) -> DockerServer:
        with self._lock:
            running = self._running.get(container["Id"])
            if isinstance(running, DockerServer):
                return running
            labels, image = container["Labels"], container["Image"]
            found = DockerServer(
                self.engine,
                record,
                container["Id"],
                self._scratch / Path(labels[SCRATCH_LABEL] or "none").name,
                give=lambda places: self._give(places, image, record.job.labels),
                forget=self._forget,
            )
            self._running[container["Id"]] = found
        found.adopt()
        return found

    def _start(
        self, job: JobSpec, shape: Callable[[dict[str, Any]], None], make: Callable[..., Started]
    ) -> Started:
        image = self._image(job.image)
        mounts = prepare(job)
        while True:
            abilities = self._abilities
            try:
                return self._attempt(job, image, mounts, abilities, shape, make)
            except JobError as error:
                left = abilities.without_what_failed(error.what)
                if left is None:
                    raise
                self._abilities = left

    def remove_leftovers(self, labels: Mapping[str, str]) -> Sequence[str]:
        """As `mlops.ports.ContainerRuntime.remove_leftovers`."""
        found = self._containers(JOB_LABEL, labels)
        for container in found:
            self._remove_leftover(container)
        self._networks.remove_leftovers(labels)
        return [container["Labels"][JOB_LABEL] for container in found]

    def _containers(self, mark: str, labels: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        wanted = [mark, *(f"{name}={value}" for name, value in labels.items())]
        with translated("Left-over containers cannot be listed"):
            found: list[dict[str, Any]] = self.engine.client.containers(
                all=True, filters={"label": wanted}
            )
        return found

    def _remove_leftover(self, container: Mapping[str, Any]) -> None:
        with self._lock:
            running = self._running.get(container["Id"])
        if running is not None:
            running.stop(0)
            running.wait()
            return
        remove_container(self.engine, container["Id"])
        labels = container["Labels"]
        scratch = self._scratch / Path(labels[SCRATCH_LABEL] or "none").name
        try:
            hand_over([scratch], lambda places: self._give(places, container["Image"], labels))
            if scratch.exists():
                remove_tree(scratch)
        except OSError as error:
            raise os_error(error, f"What job {labels[JOB_LABEL]} left stays") from error

    def _image(self, uri: str) -> _Image:
        mapping = self._settings.image_for(uri)
        if mapping is None:
            own = registry_image(self.engine, self._images, uri)
            if own is not None:
                step = f"docker pull {own}"
                return _Image(own, self._user(own, ours=False, next_step=step), step)
            step = f"docker pull {uri}, or map it by an [[images]] entry in mlops.toml"
            return _Image(uri, self._user(uri, ours=False, next_step=step), step)
        step = "make images" if mapping.folder else f"docker pull {mapping.local}"
        user = self._user(mapping.local, ours=mapping.folder is not None, next_step=step)
        return _Image(mapping.local, user, step)

    def _user(self, reference: str, *, ours: bool, next_step: str) -> str | None:
        """As whom a container of the image runs; None for what the image says."""
        if self.engine.desktop:
            return None  # its shared folders belong to the caller whoever writes
        if self.engine.rootless:
            return "0:0"
        if not ours:
            with translated(f"The image {reference} cannot be used", next_step=next_step):
                config = self.engine.client.inspect_image(reference)["Config"] or {}
            if (config.get("User") or "root").partition(":")[0] in ("root", "0"):
                return None
        return f"{os.getuid()}:{os.getgid()}"

    def _attempt(
        self,
        job: JobSpec,
        image: _Image,
        mounts: Sequence[Mount],
        abilities: _Abilities,
        shape: Callable[[dict[str, Any]], None],
        make: Callable[..., Started],
    ) -> Started:
        scratch = self._scratch / f"{job.name}-{uuid4().hex[:12]}"
        running = None
        try:
            volumes = docker_mounts(job.folder, mounts, scratch, overlay=abilities.overlay)
            config = self._config(job, image, volumes, abilities, scratch.name)
            shape(config)
            container = self._create(job, image, config)
            running = make(
                container,
                scratch,
                give=lambda places: self._give(places, image.reference, job.labels),
                forget=self._forget,
            )
            with self._lock:
                self._running[container] = running
            running.start()
        except (MlopsError, OSError) as error:
            if running is not None:
                running.clear_away()
            elif scratch.exists():
                remove_tree(scratch)
            if isinstance(error, OSError):
                raise os_error(
                    error, f"Job {job.name} cannot be started", place=self._scratch
                ) from error
            raise
        return running

    def _forget(self, container: str) -> None:
        with self._lock:
            self._running.pop(container, None)

    def _config(
        self,
        job: JobSpec,
        image: _Image,
        mounts: list[dict[str, Any]],
        abilities: _Abilities,
        scratch: str,
    ) -> dict[str, Any]:
        variables, files = container_network(os.environ, self.gateway_host)
        if image.user is not None and os.getuid() != 0:
            variables["HOME"] = "/tmp"  # the caller has no home in the image
        variables.update(job.environment)
        mounts = [*mounts, *(bind(source, target, read_only=True) for source, target in files)]
        config: dict[str, Any] = {
            "Image": image.reference,
            "Env": [f"{name}={value}" for name, value in variables.items()],
            "Labels": {**job.labels, JOB_LABEL: job.name, SCRATCH_LABEL: scratch},
            "AttachStdout": True,
            "AttachStderr": True,
            "HostConfig": self._host_config(mounts, abilities),
        }
        # An absent field leaves the image its own; an empty one would take it away.
        if job.command:
            config["Entrypoint"] = list(job.command)
        if job.arguments:
            config["Cmd"] = list(job.arguments)
        if image.user is not None:
            config["User"] = image.user
        return config

    def _create(self, job: JobSpec, image: _Image, config: dict[str, Any]) -> str:
        name = re.sub(r"[^a-zA-Z0-9_.-]", "-", f"{job.name}-{uuid4().hex[:6]}")
        with translated(
            f"The container of job {job.name} cannot be created", next_step=image.next_step
        ):
            return str(self.engine.client.create_container_from_config(config, name)["Id"])

    def _host_config(self, mounts: list[dict[str, Any]], abilities: _Abilities) -> dict[str, Any]:
        host: dict[str, Any] = {
            "Mounts": mounts,
            "Init": abilities.init,
            # The log comes over the attached connection; the engine's copy, gone with the
            # container, is for the gateway after one that was killed.
            "LogConfig": LOG_CONFIG,
            "ShmSize": _SHARED_MEMORY_BYTES,
        }
        if self.engine.remaps_users:
            host["UsernsMode"] = "host"
        if self.engine.labels_files:
            host["SecurityOpt"] = ["label=disable"]
        return host

    def _give(self, places: list[Path], image: str, labels: Mapping[str, str]) -> None:
        """Give places to the caller by root's hand: in a container of the job's own image."""
        targets = {f"/mlops/{index}": place for index, place in enumerate(places)}
        config = {
            "Image": image,
            "Entrypoint": ["chown", "-hR", f"{os.getuid()}:{os.getgid()}"],
            "Cmd": list(targets),
            "User": "0:0",
            "Labels": {**labels, JOB_LABEL: "hand-over", SCRATCH_LABEL: ""},
            "HostConfig": {
                "Mounts": [bind(place, target) for target, place in targets.items()],
                "NetworkMode": "none",
            },
        }
        client = self.engine.client
        container = None
        try:
            with translated(
                f"What a job left in {places[0]} belongs to root and cannot be given to you",
                next_step=f"sudo chown -R {os.getuid()} {places[0]}",
            ):
                container = client.create_container_from_config(config)["Id"]
                client.start(container)
                status = client.wait(container)["StatusCode"]
        finally:
            if container is not None:
                remove_container(self.engine, container)
        if status != 0:
            raise JobError(
                f"What a job left in {places[0]} belongs to root: chown ended with {status}",
                next_step=f"sudo chown -R {os.getuid()} {places[0]}",
            )
