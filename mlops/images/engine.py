"""The Docker engine, as building needs it: the images it has, pulls, builds, errors translated."""

from __future__ import annotations

import io
import queue
import re
import tarfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound

from mlops.errors import DiskFull, EnvironmentLacks, ImageUnavailable, RuntimeUnavailable
from mlops.images.plan import FoundImage
from mlops.runtimes.docker_engine import find_engine

Progress = Callable[[str], None]

LABEL = "mlops.images"
"""On every helper container that a build makes, so that one left behind can be told."""

SHOWN_LINES = 20
HTTP_CONFLICT = 409
FULL = "no space left on device"


@dataclass(frozen=True, slots=True)
class BuildStep:
    """An instruction of a Dockerfile and the id of the image after it ("" where none was told)."""

    instruction: str
    image: str = ""


class Engine(Protocol):
    """What building images asks of a Docker engine. Every method may raise EnvironmentLacks."""

    def find(self, name: str) -> FoundImage | None:
        """The image of that name, or None."""
        ...

    def pull(self, name: str, progress: Progress) -> None:
        """Fetch an image. Raises ImageUnavailable with the engine's reason."""
        ...

    def import_root(self, archive: Path, name: str) -> None:
        """Make an image of a tar of a root file system."""
        ...

    def can_connect(self, image: str, command: list[str], network: str) -> bool:
        """Whether `command` succeeds in a container of `image` on that network."""
        ...

    def build(
        self,
        name: str,
        *,
        dockerfile: str,
        context: Mapping[str, Path | bytes],
        arguments: Mapping[str, str],
        network: str | None,
        progress: Progress,
    ) -> tuple[BuildStep, ...]:
        """Build an image; return its steps. Raises ImageUnavailable with the last output lines."""
        ...

    def tag(self, name: str, other: str) -> None:
        """Give an image a second name."""
        ...

    def untag(self, name: str) -> None:
        """Take a name from an image, also where a container runs on it."""
        ...

    def discard(self, identity: str) -> None:
        """Remove an image by its id; one that has a name or is in use stays."""
        ...


class DockerEngine:
    """An `Engine` over the docker SDK's low-level client, without BuildKit.

    Raises:
        RuntimeUnavailable: no engine answers.
    """

    def __init__(self, *, pull_timeout: float = 20.0) -> None:
        self._pull_timeout = pull_timeout
        self._client = connect(None)

    def find(self, name: str) -> FoundImage | None:
        with translated(f"The image {name}"):
            try:
                found = self._client.inspect_image(name)
            except ImageNotFound:
                return None
        return FoundImage(
            id=found["Id"],
            tags=frozenset(found.get("RepoTags") or ()),
            layers=tuple((found.get("RootFS") or {}).get("Layers") or ()),
            size=found["Size"],
        )

    def pull(self, name: str, progress: Progress) -> None:
        repository, tag = split_name(name)

        def pulled() -> Iterator[dict[str, Any]]:
            with translated(f"The image {name}"):
                yield from connect(None).pull(repository, tag=tag, stream=True, decode=True)

        for event in within(self._pull_timeout, f"The image {name}", pulled()):
            if "error" in event:
                raise said(f"The image {name} is not to be had", str(event["error"]))
            if event.get("status", "").startswith(("Pulling from", "Status")):
                progress(event["status"])

    def import_root(self, archive: Path, name: str) -> None:
        repository, tag = split_name(name)
        with translated(f"The image {name}"):
            answer = self._client.import_image(
                src=str(archive), repository=repository, tag=tag, changes=['CMD ["bash"]']
            )
            if '"error"' in str(answer):
                raise said(f"The image {name} could not be imported", str(answer))

    def can_connect(self, image: str, command: list[str], network: str) -> bool:
        client = self._client
        try:
            made = client.create_container(
                image,
                entrypoint=command[0],
                command=command[1:],
                labels={LABEL: "network"},
                host_config=client.create_host_config(network_mode=network),
            )
        except APIError:  # such a network is not there
            return False
        try:
            client.start(made["Id"])
            return bool(client.wait(made["Id"], timeout=30)["StatusCode"] == 0)
        except (APIError, requests.RequestException):  # not startable, or no end in 30 s
            return False
        finally:
            client.remove_container(made["Id"], force=True, v=True)

    def build(
        self,
        name: str,
        *,
        dockerfile: str,
        context: Mapping[str, Path | bytes],
        arguments: Mapping[str, str],
        network: str | None,
        progress: Progress,
    ) -> tuple[BuildStep, ...]:
        with translated(f"The image {name}"), packed(context) as archive:
            events = self._client.build(
                fileobj=archive,
                custom_context=True,
                dockerfile=dockerfile,
                tag=name,
                buildargs=dict(arguments),
                network_mode=network,
                rm=True,
                forcerm=True,
                decode=True,
            )
            return follow_build(name, events, progress)

    def tag(self, name: str, other: str) -> None:
        repository, tag = split_name(other)
        with translated(f"The image {name}"):
            self._client.tag(name, repository, tag)

    def untag(self, name: str) -> None:
        with translated(f"The image {name}"):
            # Forced: a job that still runs on the image keeps it, but not its name.
            self._client.remove_image(name, force=True, noprune=True)

    def discard(self, identity: str) -> None:
        image = self.find(identity)
        if image is None or image.tags:
            return
        with translated(f"The image {identity}"):
            try:
                self._client.remove_image(identity)
            except APIError as error:
                if error.status_code != HTTP_CONFLICT:
                    raise


def connect(timeout: float | None) -> Any:
    """A client of the engine that answers; it waits `timeout` seconds for each piece of an answer.

    Without a time-out a step of a build may say nothing for as long as it takes.
    """
    client = find_engine().client
    client.timeout = timeout
    return client


def within(seconds: float, what: str, events: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The events, each of which has to come within so many seconds of the one before.

    The docker SDK waits for ever in a pull, and the engine for minutes where a registry's packets
    are dropped. A thread waits in our place; given up, it ends when the engine does give up.

    Raises:
        ImageUnavailable: nothing came in time.
    """
    arrived: queue.SimpleQueue[dict[str, Any] | BaseException | None] = queue.SimpleQueue()

    def wait() -> None:
        try:
            for event in events:
                arrived.put(event)
        except BaseException as error:  # noqa: BLE001 (raised again by whoever waits)
            arrived.put(error)
        arrived.put(None)

    threading.Thread(target=wait, name="pull", daemon=True).start()
    while True:
        try:
            event = arrived.get(timeout=seconds)
        except queue.Empty as error:
            raise ImageUnavailable(
                f"{what} is not to be had: no answer from the registry in {seconds:.0f} s"
            ) from error
        if event is None:
            return
        if isinstance(event, BaseException):
            raise event
        yield event


@contextmanager
def translated(what: str) -> Iterator[None]:
    """The docker SDK's errors as ours; errors of our own pass."""
    try:
        yield
    except EnvironmentLacks:
        raise
    except (NotFound, APIError) as error:
        raise said(f"{what} is not to be had", str(error.explanation or error)) from error
    except (DockerException, requests.RequestException, OSError) as error:
        raise RuntimeUnavailable(
            f"{what}: the Docker engine no longer answers",
            where=str(error),
            next_step="see whether Docker runs: docker info",
        ) from error


def said(what: str, explanation: str, next_step: str | None = None) -> EnvironmentLacks:
    """The error for what the engine said."""
    if FULL in explanation.lower():
        return DiskFull(
            f"{what}: the disk is full",
            where="the Docker engine's storage",
            next_step="make room, for example: docker system prune",
        )
    return ImageUnavailable(f"{what}: {explanation}", next_step=next_step)


def split_name(name: str) -> tuple[str, str]:
    """`host:5000/image:tag` → (`host:5000/image`, `tag`); the tag is `latest` by default."""
    head, colon, tail = name.rpartition(":")
    return (head, tail) if colon and "/" not in tail else (name, "latest")


@contextmanager
def packed(context: Mapping[str, Path | bytes]) -> Iterator[io.BytesIO]:
    """A build's context as a tar whose bytes depend on names, contents and the x bit only."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, source in sorted(context.items()):
            content = source if isinstance(source, bytes) else source.read_bytes()
            runs = isinstance(source, Path) and source.stat().st_mode & 0o100
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if runs else 0o644
            archive.addfile(entry, io.BytesIO(content))
    stream.seek(0)
    yield stream


def follow_build(
    name: str, events: Iterator[dict[str, Any]], progress: Progress
) -> tuple[BuildStep, ...]:
    """Show a build's output as it comes; raise with its end where it fails."""
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    steps: list[BuildStep] = []
    for event in events:
        for line in str(event.get("stream", "")).splitlines():
            if not line.strip():
                continue
            last.append(line.rstrip())
            if step := re.match(r"Step \d+/\d+ : (.*)", line):
                steps.append(BuildStep(step.group(1)))
            elif steps and (made := re.match(r" ---> ([0-9a-f]{12,})$", line)):
                steps[-1] = BuildStep(steps[-1].instruction, made.group(1))
            if shown := worth_showing(line):
                progress(shown)
        if "error" in event:
            raise build_failure(name, str(event["error"]), list(last))
    return tuple(steps)


def worth_showing(line: str) -> str | None:
    """Docker's steps and pip's downloads, shortened; None for the rest."""
    if step := re.match(r"Step (\d+/\d+) : (.*)", line):
        return f"{step.group(1)} {' '.join(step.group(2).split())[:70]}"
    if got := re.match(r"\s*Downloading (?:\S*/)?(\S+?)(?:-cp\S+|-py\S+)? (\(.*B\))", line):
        return f"    {got.group(1)} {got.group(2)}"
    if line.startswith("Installing collected packages"):
        return "    installing"
    return None


HINTS = (
    (
        "certificate_verify_failed",
        "the certificate of a proxy is not trusted: set PIP_CERT to a file with it, and again",
    ),
    (
        "no matching distribution",
        "the package index does not have it: see `pip config list` for the index that is asked",
    ),
    (
        "connection",
        "the package index is not reachable from here: set pip's index-url, or HTTPS_PROXY",
    ),
)
OWN_HINT = "mend what the lines above say, then: make images"


def build_failure(name: str, error: str, last: list[str]) -> EnvironmentLacks:
    output = "\n".join(f"  | {line}" for line in last)
    everything = f"{error}\n{output}"
    hint = next((hint for sign, hint in HINTS if sign in everything.lower()), OWN_HINT)
    return said(f"The image {name} could not be built", f"{error}\n{output}", hint)
