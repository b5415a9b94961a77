"""`serve` in the image as `make images` built it: any user, no network, read-only model."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlops.images import ImageState, image_status
from mlops.settings import Settings

from .conftest import Trained, pings, post

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def image(docker_engine: Any) -> str:
    status = next(s for s in image_status(Settings()) if s.folder == "tensorflow")
    if status.state is ImageState.MISSING:
        if os.environ.get("CI"):
            pytest.fail(f"{status.image} is not built: make images")
        pytest.skip(f"{status.image} is not built: make images")
    return status.image


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def container(image: str, base: Path, **variables: str) -> Iterator[tuple[str, int]]:
    """A server as SageMaker starts one: (name, port on this host)."""
    name = f"mlops-test-serving-{uuid.uuid4().hex[:8]}"
    given = [part for key, value in variables.items() for part in ("--env", f"{key}={value}")]
    mount = f"{base / 'model'}:/opt/ml/model:ro"
    options = ["--detach", "--name", name, "--user", "12345:12345", "--volume", mount]
    docker("run", *options, "--publish", "127.0.0.1:0:8080", *given, image, "serve")
    try:
        port = int(docker("port", name, "8080/tcp").rsplit(":", 1)[1])
        deadline = time.monotonic() + 60
        while not pings(port):
            assert time.monotonic() < deadline, docker("logs", name)
            time.sleep(0.05)
        yield name, port
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


@pytest.mark.parametrize("variables", [{}, {"MODEL_SERVER_FAST_PATH": "1"}], ids=["tf", "fast"])
def test_the_image_serves(image: str, trained: Trained, variables: dict[str, str]) -> None:
    with container(image, trained.base, **variables) as (name, port):
        status, answer = post(port, trained.csv_body())
        assert status == 200
        found = [float(line) for line in answer.split()]
        assert found == pytest.approx(trained.expected, rel=1e-4 if variables else 0)
        begin = time.monotonic()
        docker("stop", "--time", "10", name)
        assert time.monotonic() - begin < 5  # it heeds SIGTERM as process 1
        state = json.loads(docker("inspect", "--format", "{{json .State}}", name))
        assert state["ExitCode"] == 0


def test_a_container_without_a_model_says_so(image: str) -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", image, "serve"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "serve: there is no model in /opt/ml/model: mount or unpack model.tar.gz there\n"
    )
