"""Finding a Docker engine, and its errors in this project's terms."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import docker
import requests
from docker.context import ContextAPI
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from mlops.errors import DiskFull, ImageUnavailable, JobError, RuntimeUnavailable

PROBE_SECONDS = 2
"""How long an engine may take to answer before it counts as none."""

_CALL_SECONDS = 120  # a create or a remove on a busy disk takes long, but not for ever


@dataclass(frozen=True)
class Engine:
    """An engine that answers: its low-level client, and what it says about itself."""

    client: Any
    """A `docker.APIClient`; the SDK's type stubs leave half of it untyped."""
    url: str

    @cached_property
    def info(self) -> Mapping[str, Any]:
        """The answer of `docker info`."""
        with translated("The Docker engine cannot be asked about itself"):
            answer: dict[str, Any] = self.client.info()
        return answer

    def has_image(self, reference: str) -> bool:
        """Whether the engine has an image of that name."""
        with translated(f"The image {reference} cannot be looked up"):
            return bool(self.client.images(reference, quiet=True))

    @property
    def version(self) -> str:
        return str(self.info["ServerVersion"])

    @property
    def desktop(self) -> bool:
        """Docker Desktop: the engine is in a virtual machine that shares the host's folders."""
        return "Docker Desktop" in self.info.get("OperatingSystem", "")

    def _has_security_option(self, name: str) -> bool:
        return any(f"name={name}" in option for option in self.info.get("SecurityOptions") or ())

    @property
    def rootless(self) -> bool:
        """A container's root is the caller, its other users are nobody that the host knows."""
        return self._has_security_option("rootless")

    @property
    def remaps_users(self) -> bool:
        """A container's users are not the host's, unless it says so (`userns-remap`)."""
        return self._has_security_option("userns")

    @property
    def labels_files(self) -> bool:
        """SELinux keeps containers from files that bear no label for them."""
        return self._has_security_option("selinux")

    @cached_property
    def gateway_host(self) -> str:
        """The address under which a container of the default network reaches this host."""
        if self.desktop:
            return "host.docker.internal"
        with translated("The address of Docker's bridge cannot be found"):
            configs = self.client.inspect_network("bridge")["IPAM"]["Config"] or []
        for config in configs:
            if config.get("Gateway"):
                return str(config["Gateway"])
            if config.get("Subnet"):
                # The engine gives the bridge the first address when none is configured.
                return str(next(ipaddress.ip_network(config["Subnet"]).hosts()))
        raise RuntimeUnavailable(
            "Docker's bridge network has no address, so no job could reach the gateway",
            next_step="set 'bip' in /etc/docker/daemon.json, or use --runtime process",
        )


def find_engine(environment: Mapping[str, str] = os.environ) -> Engine:
    """The engine that `docker` itself would talk to, else one at a well-known place.

    Raises:
        RuntimeUnavailable: none answers within PROBE_SECONDS; says for each place why not.
    """
    failures = []
    for arguments in _places(environment):
        url = str(arguments["base_url"])
        try:
            client = docker.APIClient(version="auto", timeout=PROBE_SECONDS, **arguments)
        except (DockerException, requests.RequestException, OSError, ValueError) as error:
            failures.append(f"{url}: {_why(error)}")
            continue
        client.timeout = _CALL_SECONDS
        return Engine(client, url)
    raise RuntimeUnavailable(
        "No Docker engine answers",
        where="; ".join(failures),
        next_step="start Docker (and see that your user may use it), or use --runtime process",
    )


def _places(environment: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Arguments of APIClient for each place where an engine may be, likeliest first."""
    if environment.get("DOCKER_HOST"):
        yield {**kwargs_from_env(environment=dict(environment))}
        return  # who names an engine means it
    context = _context(environment.get("DOCKER_CONTEXT"))
    if context is not None and context.Host:
        yield {"base_url": context.Host} | ({"tls": context.TLSConfig} if context.TLSConfig else {})
        if context.name != "default":
            return
    home = Path(environment.get("HOME", "/"))
    sockets = [Path("/var/run/docker.sock"), home / ".docker/run/docker.sock"]
    if environment.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(environment["XDG_RUNTIME_DIR"]) / "docker.sock")
    given = Path(str(context.Host).removeprefix("unix://")) if context and context.Host else None
    yield from ({"base_url": f"unix://{path}"} for path in sockets if path != given)


def _context(name: str | None) -> Any:
    try:
        return ContextAPI.get_context(name) if name else ContextAPI.get_current_context()
    except (DockerException, OSError, ValueError) as error:
        raise RuntimeUnavailable(
            f"Docker's own configuration cannot be read: {error}",
            where="~/.docker/config.json",
            next_step="mend the file, or name the engine in DOCKER_HOST",
        ) from error


def _why(error: BaseException) -> str:
    """The cause at the bottom: docker and requests wrap it several times."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PermissionError):
            user = "" if sys.platform == "win32" else f" for user id {os.getuid()}"
            return f"permission denied{user}; members of the group docker may use it"
        if isinstance(cause, FileNotFoundError):
            return "no such socket"
        if isinstance(cause, ConnectionRefusedError):
            return "nobody listens there"
        if isinstance(cause, (TimeoutError, requests.Timeout)):
            return f"no answer within {PROBE_SECONDS:g} s"
        cause = cause.__cause__ or cause.__context__
    return str(error)


@contextmanager
def translated(what: str, *, next_step: str | None = None) -> Iterator[None]:
    """Raise the engine's errors in this project's terms, with `what` could not be done.

    Raises:
        ImageUnavailable, DiskFull, RuntimeUnavailable (the engine is gone), JobError.
    """
    try:
        yield
    except ImageNotFound as error:
        raise ImageUnavailable(f"{what}: {error.explanation}", next_step=next_step) from error
    except APIError as error:
        text = str(error.explanation or error)
        if "no space left on device" in text.lower():
            raise DiskFull(
                f"{what}: no space left where Docker keeps its data",
                where=text,
                next_step="free some disk space, for example with: docker system prune",
            ) from error
        if "bind source path does not exist" in text:  # it does here: that was checked before
            raise RuntimeUnavailable(
                f"{what}: the Docker engine does not see this host's folders",
                where=text,
                next_step="share the store's folder with it (Docker Desktop: File sharing), use an "
                "engine of this host, or --runtime process",
            ) from error
        raise JobError(f"{what}: {text}", next_step=next_step) from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise RuntimeUnavailable(
            f"{what}: the Docker engine no longer answers",
            where=str(error),
            next_step="see whether Docker runs: docker info",
        ) from error
