"""The Lambda image as it was built: small, complete, and fit for any user."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mlops.images import ImageState, image_status
from mlops.settings import Settings

pytestmark = pytest.mark.docker

IMAGE = "mlops-endpoint-test:local"
MOST_BYTES = 260_000_000


@pytest.fixture(scope="module", autouse=True)
def built(docker_engine: Any) -> int:
    """The image's size."""
    status = next(s for s in image_status(Settings()) if s.folder == "endpoint_test")
    if status.state is ImageState.MISSING:
        if os.environ.get("CI"):
            pytest.fail(f"{status.image} is not built: make images")
        pytest.skip(f"{status.image} is not built: make images")
    return status.size


def run(*command: str, entry: str | None = None) -> subprocess.CompletedProcess[str]:
    options = ["--rm", "--network=none", "--user=993:990", "--read-only"]  # as Lambda runs it
    options += ["--entrypoint", entry] if entry else []
    return subprocess.run(
        ["docker", "run", *options, IMAGE, *command], capture_output=True, text=True, check=False
    )


def test_it_is_small(built: int) -> None:
    assert built < MOST_BYTES


def test_what_it_runs() -> None:
    shown = subprocess.run(
        ["docker", "inspect", "--format", "{{json .Config}}", IMAGE],
        capture_output=True,
        text=True,
        check=True,
    )
    config = json.loads(shown.stdout)
    assert (config["Entrypoint"], config["Cmd"]) == (["bootstrap"], ["handler.handler"])
    assert config["WorkingDir"] == "/var/task"
    assert "LAMBDA_TASK_ROOT=/var/task" in config["Env"]


def test_any_user_can_load_the_handler_from_a_file_system_that_cannot_be_written() -> None:
    done = run("-c", "import awslambdaric, boto3, handler; print('loaded')", entry="python3")
    assert (done.stdout, done.returncode) == ("loaded\n", 0), done.stderr


def test_nothing_of_the_build_is_left() -> None:
    assert run("-c", "ls -d /build /packages 2>/dev/null; :", entry="sh").stdout == ""


def test_by_hand_it_says_what_it_lacks() -> None:
    done = run()
    assert done.returncode == 1
    assert "AWS_LAMBDA_RUNTIME_API is not set, and there is no aws-lambda-rie" in done.stderr


def test_without_a_host_it_ends() -> None:
    done = subprocess.run(
        [
            "docker",
            "run",
            "--rm",
            "--network=none",
            "-e",
            "AWS_LAMBDA_RUNTIME_API=127.0.0.1:9",
            IMAGE,
        ],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0


def test_by_hand_the_emulator_is_started_where_the_image_has_it(tmp_path: Path) -> None:
    stand_in = tmp_path / "aws-lambda-rie"
    stand_in.write_text('#!/bin/sh\necho emulate "$@"\n')
    stand_in.chmod(0o755)
    mount = f"{stand_in}:/usr/local/bin/aws-lambda-rie:ro"
    done = subprocess.run(
        ["docker", "run", "--rm", "--network=none", "-v", mount, IMAGE],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "emulate python3 -m awslambdaric handler.handler\n"


def test_it_answers_under_the_official_emulator() -> None:
    """AWS's runtime interface emulator is a binary that no package registry has."""
    emulator = os.environ.get("AWS_LAMBDA_RIE")
    if not emulator:
        pytest.skip("AWS_LAMBDA_RIE names no aws-lambda-rie")
    mount = f"{emulator}:/usr/local/bin/aws-lambda-rie:ro"
    command = ["docker", "run", "-d", "--rm", "-v", mount, "-p", "127.0.0.1::8080", IMAGE]
    container = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        port = subprocess.run(
            ["docker", "port", container, "8080"], capture_output=True, text=True, check=True
        ).stdout.split()[0]
        answer = invoke(port, b'{"a": 1}')
    finally:
        subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=True)
    assert answer["errorType"] == "EventProblem"
    assert "endpoint_name must be a text" in answer["errorMessage"]


def invoke(address: str, event: bytes) -> Any:
    deadline = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection(address, timeout=20)
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", event)
            return json.load(connection.getresponse())
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() < deadline, "the emulator does not answer"
            time.sleep(0.1)
        finally:
            connection.close()
