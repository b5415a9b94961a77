"""The model server: one row, many connections, 100 rows; beside flask + gunicorn + `predict()`.

    python -m benchmarks serving

Everything serves the same model, trained here in seconds, to the same load generator on the same
cores. The goals: one row at p50 under 1.5 ms and at least 1,500 requests/s with 16 connections on 2
cores (8,000 on the fast path), 100 rows under 3 ms. `ready` is the time from the command to the
first 200 of /ping; memory is what the server's processes hold after the load. The peer needs flask
and gunicorn, which nothing else here does; where they are missing it is left out, and says so.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).parents[1]
SERVE = PROJECT / "containers" / "tensorflow" / "bin" / "serve"
SECONDS = 4.0
READY_SECONDS = 60.0
LOADS = {"one": (1, 1), "16": (16, 1), "100 rows": (1, 100)}
"""Name to connections and rows in a request."""


def make_model(folder: Path) -> Path:
    """Train a small while, as the pipeline does; the base folder with model/ and rows.csv."""
    code, data = PROJECT / "step_code", PROJECT / "local_data" / "diamonds"
    out = folder / "prepared"
    run("preprocess.py", "--raw", data, "--dataset", data, "--output", out, code=code)
    channels = ("train", "validation", "preprocessing")
    given = [part for name in channels for part in (f"--{name}", out / name)]
    run("train.py", *given, "--model-dir", folder / "model", "--epochs", "2", code=code)
    inputs = json.loads((folder / "model" / "preprocessing.json").read_text())["inputs"]
    write_rows(out / "holdout" / "holdout.csv", [row["column"] for row in inputs], folder)
    return folder


def run(script: str, *arguments: object, code: Path) -> None:
    command = [sys.executable, str(code / script), *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def write_rows(holdout: Path, columns: list[str], folder: Path) -> None:
    import csv

    with holdout.open(newline="") as file, (folder / "rows.csv").open("w") as rows:
        for row in csv.DictReader(file):
            if "0" not in [row[name] for name in columns]:  # the peer does not clean
                rows.write(",".join(row[name] for name in columns) + "\n")


class Served:
    """A server process, from its start to its end."""

    def __init__(self, command: list[str], environment: Mapping[str, str], port: int) -> None:
        self.port = port
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_until_ready(self) -> float:
        while time.perf_counter() - self.begin < READY_SECONDS:
            if self.process.poll() is not None:
                _, errors = self.process.communicate()
                raise RuntimeError(f"{self.process.args} ended: {errors.decode()[-2000:]}")
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    return time.perf_counter() - self.begin
            except OSError:
                time.sleep(0.01)
            finally:
                connection.close()
        raise RuntimeError(f"{self.process.args} did not answer within {READY_SECONDS:.0f} s")

    def memory(self) -> float:
        """MiB that the group's processes hold, what they share counted once (PSS)."""
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.getpgid(int(folder.name)) == self.process.pid:
                    text = (folder / "smaps_rollup").read_text()
                    total += int(text.split("Pss:")[1].split()[0])
            except (OSError, IndexError):
                continue  # it ended meanwhile
        return total / 1024

    def stop(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=30)


def measure(name: str, command: list[str], environment: Mapping[str, str], base: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    filled = [part.replace("{port}", str(port)) for part in command]
    served = Served(filled, {**environment, "SAGEMAKER_BIND_TO_PORT": str(port)}, port)
    try:
        ready = served.wait_until_ready()
        figures = {load: put_load(port, *LOADS[load], base) for load in LOADS}
        one, many, rows = (figures[load] for load in LOADS)
        print(
            f"{name:<34} {ready:5.1f} s {served.memory():6.0f} MiB"
            f" {one['p50_ms']:8.2f} {one['p99_ms']:7.2f} ms"
            f" {many['requests_per_second']:9,.0f}/s {many['p50_ms']:7.2f} {many['p99_ms']:7.2f} ms"
            f" {rows['p50_ms']:8.2f} {rows['p99_ms']:7.2f} ms",
            flush=True,
        )
    finally:
        served.stop()


def put_load(port: int, connections: int, rows: int, base: Path) -> dict[str, float]:
    arguments = [str(port), str(connections), str(SECONDS), str(rows), str(base / "rows.csv")]
    command = [sys.executable, "-m", "benchmarks._http_load", *arguments]
    result = subprocess.run(
        command, cwd=PROJECT, check=True, capture_output=True, text=True, timeout=60
    )
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="mlops-bench-"))
    try:
        make_model(base)
        print(
            f"{'server':<34} {'ready':>7} {'memory':>10} {'one row p50':>12} {'p99':>6}"
            f" {'16 connections':>15} {'p50':>5} {'p99':>7} {'100 rows p50':>14} {'p99':>7}"
        )
        ours = [sys.executable, str(SERVE)]
        where = {"SAGEMAKER_BASE_DIR": str(base)}
        fast = {**where, "MODEL_SERVER_FAST_PATH": "1"}
        measure("serve, SavedModel", ours, where, base)
        measure("serve, SavedModel, 2 workers", ours, {**where, "MODEL_SERVER_WORKERS": "2"}, base)
        measure("serve, fast path", ours, fast, base)
        measure("serve, fast path, 2 workers", ours, {**fast, "MODEL_SERVER_WORKERS": "2"}, base)
        measure_peer(base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def measure_peer(base: Path) -> None:
    missing = [name for name in ("flask", "gunicorn") if not importlib.util.find_spec(name)]
    if missing:
        print(
            f"flask + gunicorn + predict(): left out, {' and '.join(missing)} missing; "
            "next: .venv/bin/pip install -c constraints.txt -e '.[bench]'"
        )
        return
    gunicorn = [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"]
    gunicorn += ["--worker-class", "gthread", "--threads", "8", "--log-level", "error"]
    environment = {"MODEL": str(base / "model"), "TF_CPP_MIN_LOG_LEVEL": "2"}
    measure(
        "flask + gunicorn + predict()",
        [*gunicorn, "benchmarks._keras_server:application"],
        environment,
        base,
    )


if __name__ == "__main__":
    main()
