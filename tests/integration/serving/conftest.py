"""The server in this process with a model made up, and the command with a real model."""

from __future__ import annotations

import asyncio
import csv
import http.client
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
CONTAINER = REPOSITORY / "containers" / "tensorflow"
STEP_CODE = REPOSITORY / "step_code"
DIAMONDS = REPOSITORY / "local_data" / "diamonds"
if str(CONTAINER) not in sys.path:
    sys.path.append(str(CONTAINER))

CSV, JSON = "text/csv", "application/json"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# --- a server in this process -----------------------------------------------------------------


class SumModel:
    """Adds the numbers and the word's length; NaN counts 1000. A word `fail` makes it fail."""

    name = "sum"

    def __init__(self) -> None:
        from serving.rows import Inputs

        kinds = {"a": "number", "b": "number", "word": "text"}
        self.inputs = Inputs(
            {"inputs": [{"column": c, "name": c, "type": kind} for c, kind in kinds.items()]}
        )
        self.evaluations = 0

    def predict(self, columns: list[list[Any]]) -> list[float]:
        self.evaluations += 1
        if "fail" in columns[2]:
            raise ValueError("asked to fail")
        known = [[1000.0 if math.isnan(v) else v for v in column] for column in columns[:2]]
        return [a + b + len(word) for a, b, word in zip(*known, columns[2], strict=True)]


@dataclass
class Local:
    """A server in a thread. ``model`` counts what it was asked."""

    port: int
    model: SumModel
    server: Any

    def connect(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def exchange(self, request: bytes, *, shut: bool = False) -> bytes:
        """Send bytes and read until the server closes."""
        with self.connect() as client:
            with suppress(OSError):  # it may refuse before everything is sent
                client.sendall(request)
                if shut:
                    client.shutdown(socket.SHUT_WR)
            return read_all(client)

    def post(self, body: bytes, content_type: str = CSV, **headers: str) -> tuple[int, bytes]:
        return post(self.port, body, content_type, **headers)


def read_all(client: socket.socket) -> bytes:
    received = b""
    while block := client.recv(65536):
        received += block
    return received


def post(port: int, body: bytes, content_type: str = CSV, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        given = {"content-type": content_type, **headers}
        connection.request("POST", "/invocations", body, given)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def local_server(timeout: int = 60) -> Iterator[Local]:
    import uvloop
    from serving import server as module
    from serving.settings import read_settings
    from serving.workers import bind

    port, model = free_port(), SumModel()
    settings = read_settings({"SAGEMAKER_MODEL_SERVER_TIMEOUT": str(timeout)})
    server = module.Server(model, settings)
    sock, listening = bind(port), threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.run(sock, listening.set)

    thread = threading.Thread(target=lambda: uvloop.run(run()))
    thread.start()
    try:
        assert listening.wait(10)
        yield Local(port, model, server)
    finally:
        loops[0].call_soon_threadsafe(server.stop)
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with local_server() as running:
        yield running


# --- a model, trained a short while on a sample -------------------------------------------------

SAMPLE_ROWS = 3000


@dataclass(frozen=True)
class Trained:
    """``base`` holds model/; ``rows`` are the held-out raw rows, ``expected`` evaluate.py's answers
    to them, ``printed`` what train.py said."""

    base: Path
    names: list[str]
    rows: list[dict[str, str]]
    expected: list[float]
    printed: list[str]

    def csv_body(self, rows: list[dict[str, str]] | None = None) -> bytes:
        chosen = self.rows if rows is None else rows
        return "".join(",".join(row[name] for name in self.names) + "\n" for row in chosen).encode()


TRAIN = """
import contextlib, io, json, os, sys

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}
for unused in ("pandas", "sklearn"):  # as train.py does for itself
    sys.modules[unused] = None
sys.path.insert(0, sys.argv[1])
import evaluate, train

def told(job):
    kept, printed = dict(vars(train)), io.StringIO()
    exec(job["change"], vars(train))
    with contextlib.redirect_stdout(printed):
        status = train.main(job["arguments"])
    vars(train).update(kept)
    assert status == 0, printed.getvalue()
    inputs, _ = evaluate.read_holdout(job["holdout"], evaluate.read_preprocessing(job["model"]))
    predicted = evaluate.predict(job["model"], inputs).tolist()
    return {"printed": printed.getvalue().splitlines(), "predicted": predicted}

json.dump([told(job) for job in json.load(sys.stdin)], sys.stdout)
"""


@dataclass(frozen=True)
class Wanted:
    """A model to train below `folder`. `features` replaces the descriptor's; `change` is made to
    the module train.py first."""

    folder: Path
    features: Mapping[str, Any] | None = None
    change: str = ""
    epochs: int = 1


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    (model,) = train_models(Wanted(tmp_path_factory.mktemp("trained"), epochs=2))
    return model


def train_models(*wanted: Wanted) -> list[Trained]:
    """Models as the pipeline makes them, of a sample, by one process: TensorFlow's import takes
    longer than any of them."""
    jobs = []
    for each in wanted:
        out, model = prepare(each.folder, each.features), str(each.folder / "base" / "model")
        arguments = [*channels(out), "--model-dir", model, "--epochs", each.epochs]
        holdout = str(out / "holdout" / "holdout.csv")
        job = {"arguments": [str(part) for part in arguments], "model": model, "holdout": holdout}
        jobs.append({**job, "change": each.change})
    command = [sys.executable, "-c", TRAIN, str(STEP_CODE)]
    done = subprocess.run(
        command, input=json.dumps(jobs), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return [
        as_trained(each.folder / "base", Path(job["holdout"]), one)
        for each, job, one in zip(wanted, jobs, told, strict=True)
    ]


def as_trained(base: Path, holdout: Path, told: Mapping[str, Any]) -> Trained:
    inputs = json.loads((base / "model" / "preprocessing.json").read_text())["inputs"]
    with holdout.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return Trained(
        base, [row["column"] for row in inputs], rows, told["predicted"], told["printed"]
    )


def prepare(folder: Path, features: Mapping[str, Any] | None = None) -> Path:
    """The prepared splits of a sample, below a folder of their own."""
    data, out = folder / "data", folder / "out"
    data.mkdir()
    lines = (DIAMONDS / "diamonds.csv").read_text().splitlines(keepends=True)
    step = len(lines) // SAMPLE_ROWS
    (data / "diamonds.csv").write_text("".join([lines[0], *lines[1::step]]))
    descriptor = json.loads((DIAMONDS / "dataset.json").read_text())
    descriptor["features"] = features or descriptor["features"]
    (data / "dataset.json").write_text(json.dumps(descriptor))
    run_step("preprocess.py", "--raw", data, "--dataset", data, "--output", out)
    return out


def channels(out: Path) -> list[object]:
    names = ("train", "validation", "preprocessing")
    return [part for name in names for part in (f"--{name}", out / name)]


def run_step(script: str, *arguments: object) -> None:
    command = [sys.executable, str(STEP_CODE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


# --- the command --------------------------------------------------------------------------------


@dataclass
class Serving:
    """A `serve` process. ``seconds`` is how long it took to answer /ping."""

    process: subprocess.Popen[str]
    port: int
    seconds: float

    def end(self) -> tuple[int, str, str]:
        """(exit status, stdout, stderr) after SIGTERM."""
        self.process.terminate()
        out, errors = self.process.communicate(timeout=30)
        return self.process.returncode, out, errors


def start(base: Path, port: int, program: Path | None = None, **variables: str) -> Any:
    environment = {n: v for n, v in os.environ.items() if "MODEL_SERVER" not in n}
    environment |= {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)}
    return subprocess.Popen(
        [sys.executable, str(program or CONTAINER / "bin" / "serve")],
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def serving(base: Path, program: Path | None = None, **variables: str) -> Iterator[Serving]:
    port, begin = free_port(), time.monotonic()
    process = start(base, port, program, **variables)
    try:
        while not pings(port):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() - begin < 60, "no answer within a minute"
            time.sleep(0.02)
        yield Serving(process, port, time.monotonic() - begin)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise


def pings(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def refuses_to_start(base: Path, **variables: str) -> str:
    """The one line that a server leaves which cannot start."""
    done = start(base, free_port(), **variables)
    out, errors = done.communicate(timeout=60)
    assert done.returncode == 1, errors
    assert out == ""
    lines: list[str] = [line for line in errors.splitlines() if not line.startswith("INFO: ")]
    assert len(lines) == 1, errors
    assert lines[0].startswith("serve: ")
    return lines[0]


def model_copy(
    trained: Trained, folder: Path, changes: Mapping[str, str | None] | None = None
) -> Path:
    """A base folder with the model and some of its files replaced (None: removed)."""
    shutil.copytree(trained.base / "model", folder / "model")
    for name, text in (changes or {}).items():
        path = folder / "model" / name
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
    return folder
