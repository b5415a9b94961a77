"""What Docker alone has: an engine that fails, images with users, the bridge, certificates."""

from __future__ import annotations

import http.server
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

from mlops.errors import DiskFull, ExitStatusLost, ImageUnavailable, RuntimeUnavailable
from mlops.ports import JobSpec
from mlops.runtimes.docker_engine import Engine
from mlops.runtimes.docker_runtime import DockerRuntime
from mlops.settings import ImageMapping, Settings

pytestmark = pytest.mark.docker

SOON = 60.0


@pytest.fixture
def settings(tmp_path: Path, base_image: str) -> Settings:
    return Settings(store=tmp_path / "store", images=(ImageMapping("python:*", base_image),))


@pytest.fixture
def runtime(settings: Settings, docker_engine: Engine, tmp_path: Path) -> Iterator[DockerRuntime]:
    made = DockerRuntime(settings, docker_engine)
    yield made
    assert not made.remove_leftovers({"mlops.test": tmp_path.name}), "a container is left"


def spec(folder: Path, script: str, **more: object) -> JobSpec:
    (folder / "ml").mkdir(exist_ok=True)
    values: dict[str, object] = {
        "name": "job",
        "image": "python:3.11",
        "folder": folder / "ml",
        "log": folder / "log.txt",
        "command": ("sh", "-c", script),
        "labels": {"mlops.test": folder.name},
    }
    return JobSpec(**(values | more))  # type: ignore[arg-type]  # the fields of JobSpec


def until_logged(job: JobSpec, text: str) -> None:
    deadline = time.monotonic() + SOON
    while not (job.log.exists() and text in job.log.read_text()):
        assert time.monotonic() < deadline, f"the job never says {text!r}"
        time.sleep(0.02)


def containers_of(engine: Engine, folder: Path) -> list[str]:
    label = f"mlops.test={folder.name}"
    return [found["Id"] for found in engine.client.containers(all=True, filters={"label": label})]


# --- An exit status that nobody knows ------------------------------------------------------------


def test_a_container_that_somebody_removed_is_no_success(
    runtime: DockerRuntime, tmp_path: Path
) -> None:
    job = spec(tmp_path, "echo ready; sleep 60")
    running = runtime.start(job)
    until_logged(job, "ready")
    for container in containers_of(runtime.engine, tmp_path):
        runtime.engine.client.remove_container(container, force=True)
    try:
        outcome = running.wait(SOON)
    except ExitStatusLost:
        return
    # The engine could still tell: it was killed.
    assert outcome is not None
    assert outcome.exit_status == 137


@contextmanager
def breakable(path: Path, folder: Path) -> Iterator[tuple[str, threading.Event]]:
    """A way to the engine at `path` that can be cut."""
    cut = threading.Event()
    ends: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
        server.listen()
        ends.append(server)

        def pump(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(65536):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        def serve() -> None:
            with suppress(OSError):
                while True:
                    near, _ = server.accept()
                    far = socket.socket(socket.AF_UNIX)
                    far.connect(str(path))
                    ends.extend((near, far))
                    for pair in ((near, far), (far, near)):
                        threading.Thread(target=pump, args=pair, daemon=True).start()

        def break_off() -> None:
            cut.wait()
            (folder / "s").unlink()
            for end in ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

        for work in (serve, break_off):
            threading.Thread(target=work, daemon=True).start()
        yield f"unix://{folder}/s", cut
        cut.set()


def test_an_engine_that_dies_mid_run(
    settings: Settings, docker_engine: Engine, tmp_path: Path
) -> None:
    if not docker_engine.url.startswith("unix://"):
        pytest.skip("the engine is not at a local socket")
    at = Path(docker_engine.url.removeprefix("unix://"))
    job = spec(tmp_path, "echo ready; sleep 60")
    with breakable(at, tmp_path) as (url, cut):
        engine = Engine(docker.APIClient(url, version="auto"), url)
        runtime = DockerRuntime(settings, engine)
        running = runtime.start(job)
        until_logged(job, "ready")
        cut.set()
        with pytest.raises(ExitStatusLost) as caught:
            running.wait(SOON)
        assert "engine no longer answers" in str(caught.value)
        with pytest.raises(RuntimeUnavailable, match="engine no longer answers"):
            runtime.start(spec(tmp_path, "true"))
    again = DockerRuntime(settings, docker_engine)
    assert list(again.remove_leftovers({"mlops.test": tmp_path.name})) == ["job"]
    assert containers_of(docker_engine, tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_cannot_be_written_ends_the_job(runtime: DockerRuntime, tmp_path: Path) -> None:
    running = runtime.start(spec(tmp_path, "echo hello; sleep 60", log=Path("/dev/full")))
    with pytest.raises(DiskFull, match="log of job job"):
        running.wait(SOON)
    assert containers_of(runtime.engine, tmp_path) == []


# --- Images --------------------------------------------------------------------------------------


def test_an_image_that_is_missing_says_how_to_get_it(docker_engine: Engine, tmp_path: Path) -> None:
    images = (
        ImageMapping("ours:*", "mlops-nothing:local", "processing"),
        ImageMapping("theirs:*", "mlops-nothing:theirs"),
    )
    runtime = DockerRuntime(Settings(store=tmp_path, images=images), docker_engine)
    for uri, step in (
        ("ours:1", "make images"),
        ("theirs:1", "docker pull mlops-nothing:theirs"),
        ("mlops-nothing:2", "docker pull mlops-nothing:2"),
    ):
        with pytest.raises(ImageUnavailable) as caught:
            runtime.start(spec(tmp_path, "true", image=uri))
        assert step in (caught.value.next_step or "")
        assert caught.value.exit_code == 3


@contextmanager
def variant(engine: Engine, base: str, changes: str) -> Iterator[str]:
    """An image like `base` with a changed configuration."""
    container = engine.client.create_container_from_config({"Image": base, "Cmd": ["true"]})["Id"]
    name = f"mlops-test-variant:{container[:12]}"
    try:
        repository, tag = name.split(":")
        engine.client.commit(container, repository=repository, tag=tag, changes=changes)
        yield name
    finally:
        engine.client.remove_container(container)
        engine.client.remove_image(name)


def test_an_images_own_entry_point_takes_the_arguments(
    docker_engine: Engine, base_image: str, tmp_path: Path
) -> None:
    changes = 'ENTRYPOINT ["echo", "entry"]\nCMD ["default"]'
    with variant(docker_engine, base_image, changes) as image:
        runtime = DockerRuntime(Settings(store=tmp_path / "store"), docker_engine)
        for arguments in ((), ("train",)):
            job = spec(tmp_path, "", image=image, command=(), arguments=arguments)
            assert runtime.start(job).wait(SOON).exit_status == 0  # type: ignore[union-attr]  # it ends
        job = spec(tmp_path, "", image=image, command=("echo", "own"))
        runtime.start(job).wait(SOON)
    assert (tmp_path / "log.txt").read_text().splitlines() == [
        "entry default",
        "entry train",
        "own",
    ]


def test_an_image_that_names_a_user_can_write(
    docker_engine: Engine, base_image: str, tmp_path: Path
) -> None:
    with variant(docker_engine, base_image, "USER nobody") as image:
        runtime = DockerRuntime(Settings(store=tmp_path / "store"), docker_engine)
        job = spec(tmp_path, "mkdir -p /opt/ml/model && touch /opt/ml/model/w", image=image)
        assert runtime.start(job).wait(SOON).exit_status == 0  # type: ignore[union-attr]  # it ends
    assert (tmp_path / "ml/model/w").stat().st_uid == os.geteuid()


AS_A_USER = """
import json, os, sys
from pathlib import Path
from mlops.ports import JobSpec, Mount, MountMode
from mlops.runtimes.docker_runtime import DockerRuntime
from mlops.settings import ImageMapping, Settings

folder, image = Path(sys.argv[1]), sys.argv[2]
images = (ImageMapping("ours:*", image, "processing"), ImageMapping("theirs:*", image))
runtime = DockerRuntime(Settings(store=folder / "store", images=images))
(folder / "source").mkdir()
(folder / "source/a").write_text("a")
script = ("set -e; umask 077; id -u; mkdir -p /opt/ml/model/deep; echo w > /opt/ml/model/deep/w;"
          "echo b > /opt/ml/in/b; rm /opt/ml/in/a; echo through > /opt/ml/through/t;"
          "touch $HOME/x; chown 12:34 /opt/ml/model/deep/w 2>/dev/null || true")
found = {}
for uri in ("ours:1", "theirs:1"):
    ml = folder / uri / "ml"
    ml.mkdir(parents=True)
    (folder / uri / "through").mkdir()
    job = runtime.start(JobSpec(
        name="as-user", image=uri, folder=ml, log=folder / uri / "log",
        command=("sh", "-c", script),
        mounts=(Mount(folder / "source", "/opt/ml/in", MountMode.COPY_ON_WRITE),
                Mount(folder / uri / "through", "/opt/ml/through", MountMode.READ_WRITE)),
    ))
    outcome = job.wait()
    files = sorted((folder / uri).rglob("*"))
    found[uri] = {
        "status": outcome.exit_status,
        "ran as": (folder / uri / "log").read_text().split("\\n")[0],
        "owners": sorted({path.lstat().st_uid for path in files}),
        "read": (ml / "model/deep/w").read_text().strip(),
    }
found["source"] = sorted(os.listdir(folder / "source"))
found["left"] = sorted(map(str, (folder / "store/runtime").glob("*/*")))
print(json.dumps(found))
"""


def _python_for(user: int) -> tuple[list[str], dict[str, str]] | None:
    """A way to run Python as an ordinary user with the environment's packages."""
    packages = [entry for entry in sys.path if entry.endswith("site-packages")]
    root = str(Path(__file__).parents[3])
    environment = {"PYTHONPATH": ":".join([root, *packages]), "PYTHONDONTWRITEBYTECODE": "1"}
    for python in (sys.executable, shutil.which("python3", path="/usr/bin:/bin")):
        if python is None or shutil.which("setpriv") is None:
            continue
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", python]
        check = "import sys, docker; assert sys.version_info >= (3, 11)"
        if subprocess.run([*command, "-c", check], env=environment, check=False).returncode == 0:
            return command, environment
    return None


def test_outputs_are_an_ordinary_users_too(
    docker_engine: Engine, base_image: str, tmp_path: Path
) -> None:
    import json

    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    user = 61234
    with suppress(KeyError):
        pytest.fail(f"user id {user} is taken by {pwd.getpwuid(user).pw_name}")
    made = _python_for(user)
    if made is None:
        pytest.skip("no Python that an ordinary user could run")
    command, environment = made
    at = Path(docker_engine.url.removeprefix("unix://"))
    command = [part.replace("--clear-groups", f"--groups={at.stat().st_gid}") for part in command]
    folder = Path("/tmp") / f"mlops-test-{os.urandom(6).hex()}"
    folder.mkdir()
    try:
        os.chown(folder, user, user)
        answer = subprocess.run(
            [*command, "-c", AS_A_USER, str(folder), base_image],
            env=environment | {"HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        found = json.loads(answer.stdout)
    finally:
        shutil.rmtree(folder)
    same = {"status": 0, "owners": [user], "read": "w"}
    assert found["ours:1"] == {**same, "ran as": str(user)}
    assert found["theirs:1"] == {**same, "ran as": "0"}
    assert (found["source"], found["left"]) == (["a"], [])


# --- The network ---------------------------------------------------------------------------------


def test_a_job_reaches_a_server_on_the_gateway_host(runtime: DockerRuntime, tmp_path: Path) -> None:
    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the host")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    if runtime.engine.desktop:
        pytest.skip("Docker Desktop has no bridge on the host")
    with http.server.ThreadingHTTPServer((runtime.gateway_host, 0), Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{runtime.gateway_host}:{server.server_port}"
        code = f"import urllib.request as r; print(r.urlopen('{url}', timeout=20).read().decode())"
        job = spec(tmp_path, "", command=("python3", "-c", code))
        runtime.start(job).wait(SOON)
        server.shutdown()
    assert job.log.read_text() == "hello from the host\n"


def test_certificates_are_where_their_variables_say(
    runtime: DockerRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_text("-----BEGIN-----\n")
    for name in ("SSL_CERT_FILE", "PIP_CERT"):
        monkeypatch.setenv(name, str(bundle))
    job = spec(tmp_path, 'cat "$SSL_CERT_FILE" "$PIP_CERT"')
    runtime.start(job).wait(SOON)
    assert job.log.read_text() == "-----BEGIN-----\n" * 2
