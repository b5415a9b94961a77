"""What every runtime does with a server. See `ContainerRuntime.serve` and `RunningServer`."""

# Servers are written as step code is: short, for any Python.
# ruff: noqa: PTH123

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mlops.errors import MlopsError
from mlops.ports import RunningServer, ServerSpec

SOON = 60.0


def answer(me):
    """Answers every GET with its pid, the file `say` of its folder, and its mark."""
    import os
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/exit":
                os._exit(3)
            with open(me.base + "/say") as file:
                body = (file.read() + me.environment.get("MARK", "")).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            me.say("asked for", self.path)

    place = ("", int(me.environment.get("SAGEMAKER_BIND_TO_PORT", 8080)))
    with HTTPServer(place, Handler) as server:
        server.timeout = 0.02
        me.say("ready")
        while True:
            server.handle_request()
            me.sleep(0)


def spec_of(harness: Any, program: Any = answer, **more: Any) -> ServerSpec:
    job = harness.spec(program, **{k: more.pop(k) for k in ("environment",) if k in more})
    (job.folder / "say").write_text("hello")
    return ServerSpec(
        name=job.name,
        image=more.pop("image", job.image),
        folder=job.folder,
        log=job.log,
        command=job.command,
        arguments=(),
        environment=job.environment,
        labels={**job.labels, **more.pop("labels", {})},
        **more,
    )


@pytest.fixture
def serve(harness: Any) -> Iterator[Any]:
    """Starts servers and ends them after the test."""
    started: list[RunningServer] = []

    def start(program: Any = answer, **more: Any) -> tuple[RunningServer, ServerSpec]:
        spec = spec_of(harness, program, **more)
        server = harness.runtime.serve(spec)
        started.append(server)
        return server, spec

    yield start
    for server in started:
        server.stop(0)
        server.wait(SOON)


def get(server: RunningServer, path: str = "/") -> str:
    """The answer of a server, as soon as it listens."""
    assert server.address is not None
    deadline = time.monotonic() + SOON
    while True:
        connection = http.client.HTTPConnection(server.address, timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (ConnectionError, http.client.HTTPException):
            assert time.monotonic() < deadline, "the server does not answer"
            assert server.poll() is None, "the server has ended"
            time.sleep(0.02)
        finally:
            connection.close()


def test_a_server_answers_at_its_address(serve: Any) -> None:
    server, spec = serve(environment={"MARK": " world"}, labels={"endpoint": "e"})
    assert server.address.startswith("127.0.0.1:")
    assert get(server) == "hello world"
    assert server.name == spec.name
    assert server.labels == spec.labels
    assert server.poll() is None
    assert server.wait(0.01) is None


def test_several_servers_have_a_port_each(serve: Any) -> None:
    servers = [serve(environment={"MARK": str(number)})[0] for number in range(3)]
    assert len({server.address for server in servers}) == 3
    assert [get(server) for server in servers] == ["hello0", "hello1", "hello2"]


def test_stop_ends_a_server_and_leaves_nothing(serve: Any, harness: Any) -> None:
    server, spec = serve()
    get(server)
    server.stop()
    outcome = server.wait(SOON)
    assert outcome is not None
    assert (outcome.exit_status, outcome.stopped) == (143, True)
    assert server.poll() == outcome
    assert harness.runtime.find_servers(spec.labels) == []
    with pytest.raises(ConnectionError):
        http.client.HTTPConnection(server.address, timeout=5).request("GET", "/")


def test_the_log_comes_as_it_is_written_and_is_whole_at_the_end(serve: Any) -> None:
    server, spec = serve()
    for number in range(3):
        get(server, f"/{number}")
    deadline = time.monotonic() + SOON
    while "asked for /2" not in spec.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    server.stop()
    server.wait(SOON)
    assert spec.log.read_text().splitlines() == [
        "ready",
        *(f"asked for /{number}" for number in range(3)),
    ]


def test_a_server_that_dies_tells_how(serve: Any, harness: Any) -> None:
    def die(me):
        me.say("no model")
        return 4

    server, spec = serve(die)
    outcome = server.wait(SOON)
    assert outcome is not None
    assert (outcome.exit_status, outcome.stopped) == (4, False)
    assert spec.log.read_text() == "no model\n"


def test_a_server_without_a_port(serve: Any) -> None:
    def wait(me):
        me.say("SAGEMAKER_BIND_TO_PORT" in me.environment)
        me.sleep(60)

    server, spec = serve(wait, port=None)
    assert server.address is None
    while not spec.log.exists() or not spec.log.read_text():
        time.sleep(0.01)
    assert spec.log.read_text() == "False\n"


def test_servers_are_found_by_all_of_their_labels(serve: Any, harness: Any) -> None:
    one, spec = serve(labels={"endpoint": "a", "variant": "x"})
    serve(labels={"endpoint": "b", "variant": "x"})
    wanted = {"endpoint": "a", "mlops.test": spec.labels["mlops.test"]}
    (found,) = harness.runtime.find_servers(wanted)
    assert (found.name, found.address, found.labels) == (one.name, one.address, spec.labels)
    assert len(harness.runtime.find_servers({"mlops.test": wanted["mlops.test"]})) == 2
    assert harness.runtime.find_servers({**wanted, "variant": "y"}) == []


def test_leftovers_hold_servers_too(serve: Any, harness: Any) -> None:
    server, spec = serve(labels={"endpoint": "a"})
    wanted = {"endpoint": "a", "mlops.test": spec.labels["mlops.test"]}
    assert list(harness.runtime.remove_leftovers(wanted)) == [spec.name]
    outcome = server.wait(SOON)
    assert outcome is not None
    assert outcome.exit_status == 137


def test_an_unknown_image(harness: Any) -> None:
    with pytest.raises(MlopsError) as caught:
        harness.runtime.serve(spec_of(harness, image=harness.unknown_image))
    assert caught.value.exit_code == 3


def test_many_start_and_stop_side_by_side(serve: Any) -> None:
    servers: list[RunningServer] = []

    def one() -> None:
        server, _ = serve()
        servers.append(server)
        get(server)
        server.stop(0)
        assert server.wait(SOON) is not None

    threads = [threading.Thread(target=one) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len({server.address for server in servers}) == 5
    assert all(server.poll() is not None for server in servers)


GATEWAY = """
import json, os, signal, sys
from pathlib import Path
from mlops.ports import ServerSpec
from mlops.settings import ImageMapping, Settings

store, kind = Path(sys.argv[1]), sys.argv[2]
if kind == "docker":
    from mlops.runtimes.docker_runtime import DockerRuntime
    mapping = ImageMapping("python:*", "mlops-test-base:local")
    runtime = DockerRuntime(Settings(store=store, images=(mapping,)))
else:
    from mlops.runtimes.namespaces import Isolation, Namespaces
    from mlops.runtimes.process_runtime import ProcessRuntime
    runtime = ProcessRuntime(Settings(store=store), namespaces=Namespaces(Isolation(kind)))
spec = json.load(sys.stdin)
spec["folder"], spec["log"] = Path(spec["folder"]), Path(spec["log"])
print(runtime.serve(ServerSpec(**spec)).address, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def orphaned(harness: Any) -> tuple[ServerSpec, str]:
    """A server whose gateway was killed, not found yet, and its address."""
    if not harness.real:
        pytest.skip("the fake's servers end with their gateway")
    import json

    harness.settings.store.mkdir(exist_ok=True)
    spec = spec_of(harness, labels={"endpoint": "orphan"})
    document = {
        "name": spec.name,
        "image": spec.image,
        "folder": os.fspath(spec.folder),
        "log": os.fspath(spec.log),
        "command": spec.command,
        "arguments": (),
        "labels": spec.labels,
    }
    kind = harness.runtime.name
    if kind == "process":
        kind = str(harness.runtime.namespaces.isolation)
    told = subprocess.run(
        [sys.executable, "-c", GATEWAY, str(harness.settings.store), kind],
        input=json.dumps(document),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return spec, told.stdout.strip()


@pytest.fixture
def orphan(harness: Any, orphaned: Any) -> Iterator[tuple[RunningServer, ServerSpec]]:
    """The same, as the next gateway finds it."""
    spec, address = orphaned
    (server,) = harness.runtime.find_servers(spec.labels)
    assert server.address == address
    yield server, spec
    server.stop(0)
    server.wait(SOON)


def test_a_server_outlives_its_gateway(orphan: Any, harness: Any) -> None:
    server, spec = orphan
    assert get(server) == "hello"
    assert (server.name, server.labels) == (spec.name, spec.labels)
    assert server.poll() is None
    (again,) = harness.runtime.find_servers(spec.labels)
    assert again is server


def test_a_found_server_can_be_stopped(orphan: Any, harness: Any) -> None:
    server, spec = orphan
    get(server)
    server.stop()
    outcome = server.wait(SOON)
    assert outcome is not None
    assert (outcome.exit_status, outcome.stopped) == (143, True)
    assert harness.runtime.find_servers(spec.labels) == []


def test_the_log_of_a_found_server_goes_on(orphan: Any) -> None:
    server, spec = orphan
    get(server, "/later")
    server.stop(0)
    server.wait(SOON)
    assert spec.log.read_text().splitlines()[-1] == "asked for /later"


def test_how_a_found_server_ended_is_told(orphan: Any) -> None:
    server, _ = orphan
    get(server)
    end(server.address)
    outcome = server.wait(SOON)
    assert outcome is not None
    assert (outcome.exit_status, outcome.stopped) == (3, False)


def end(address: str) -> None:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/exit")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        connection.getresponse()


def test_a_server_that_ended_while_there_was_no_gateway(orphaned: Any, harness: Any) -> None:
    spec, address = orphaned
    deadline = time.monotonic() + SOON
    while "ready" not in logged(spec, harness):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    end(address)
    (server,) = harness.runtime.find_servers(spec.labels)
    outcome = server.wait(SOON)
    assert outcome is not None
    assert (outcome.exit_status, outcome.stopped) == (3, False)
    assert "ready" in spec.log.read_text()
    assert harness.runtime.find_servers(spec.labels) == []


def logged(spec: ServerSpec, harness: Any) -> str:
    """What a server without a gateway has said, wherever the runtime keeps it by then."""
    if harness.runtime.name != "docker":
        return spec.log.read_text() if spec.log.exists() else ""
    client = harness.runtime.engine.client
    wanted = [f"{name}={value}" for name, value in spec.labels.items()]
    (container,) = client.containers(all=True, filters={"label": wanted})
    return client.logs(container["Id"]).decode()


def test_a_found_server_is_a_leftover_too(orphan: Any, harness: Any) -> None:
    server, spec = orphan
    assert list(harness.runtime.remove_leftovers(spec.labels)) == [spec.name]
    assert server.wait(SOON) is not None
