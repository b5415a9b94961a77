"""What all tests share: a Docker engine where there is one, and a small image to run in it."""

from __future__ import annotations

import fcntl
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mlops.errors import RuntimeUnavailable
from mlops.images.base import DEBIAN_IMAGE, mmdebstrap
from mlops.runtimes.docker_engine import Engine, find_engine

collect_ignore = ["data"]  # what tests work on, projects with tests of their own among it

BASE_IMAGE = "mlops-test-base:local"
"""A Debian with Python 3. Made once for each machine, and kept."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs the suite in its background hands that on, and no command of the tests could
    # be interrupted any more.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def docker_engine() -> Engine:
    """The Docker engine. Without one the test is skipped, and fails where CI promises one."""
    try:
        return find_engine()
    except RuntimeUnavailable as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI has to have a Docker engine: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def base_image(docker_engine: Engine) -> str:
    """A small image with Python 3, from whatever this machine has: no registry is asked."""
    with _one_at_a_time("mlops-test-base"):
        if not docker_engine.client.images(BASE_IMAGE):
            _make_base_image(docker_engine)
    return BASE_IMAGE


TINY_SERVER = Path(__file__).parent / "data/tiny_server"
"""The smallest model server: `serve`, as an image needs it and as plain processes."""


@pytest.fixture(scope="session")
def tiny_server_image(docker_engine: Engine, base_image: str) -> Iterator[str]:
    """The tiny server as an image, gone after the tests."""
    tag = f"mlops-test-tiny-server:local-{os.getpid()}"
    lines = docker_engine.client.build(
        path=str(TINY_SERVER), tag=tag, buildargs={"BASE": base_image}, rm=True, decode=True
    )
    for line in lines:
        assert "error" not in line, line["error"]
    yield tag
    docker_engine.client.remove_image(tag, force=True)


def _make_base_image(engine: Engine) -> None:
    repository, tag = BASE_IMAGE.split(":")
    for name in (DEBIAN_IMAGE, "python:3.11-slim"):  # what `make images` stands on
        if engine.has_image(name):
            engine.client.tag(name, repository, tag)
            return
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "base.tar"
        mmdebstrap(archive, lambda line: None)
        engine.client.import_image_from_file(str(archive), repository=repository, tag=tag)


@contextmanager
def _one_at_a_time(name: str) -> Iterator[None]:
    """Keep the workers of pytest-xdist from doing the same work side by side."""
    with (Path(tempfile.gettempdir()) / f"{name}-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
