"""The command `serve` with a trained model: its numbers, its start, its stop, its workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import (
    CONTAINER,
    CSV,
    JSON,
    Serving,
    Trained,
    free_port,
    model_copy,
    pings,
    post,
    read_all,
    refuses_to_start,
    serving,
    start,
)

FAST = {"MODEL_SERVER_FAST_PATH": "1"}


@pytest.fixture(scope="module")
def saved_model(trained: Trained) -> Iterator[Serving]:
    with serving(trained.base) as running:
        yield running


@pytest.fixture(scope="module")
def fast_path(trained: Trained) -> Iterator[Serving]:
    with serving(trained.base, **FAST) as running:
        yield running


def predictions(port: int, body: bytes, content_type: str = CSV) -> list[float]:
    status, answer = post(port, body, content_type)
    assert status == 200, answer
    if content_type == JSON:
        values: list[float] = json.loads(answer)["predictions"]
        return values
    return [float(line) for line in answer.decode().splitlines()]


# --- the numbers ------------------------------------------------------------------------------


def test_predictions_are_those_of_evaluate_to_the_last_bit(
    trained: Trained, saved_model: Serving
) -> None:
    port, expected = saved_model.port, trained.expected
    assert len(expected) > 400
    assert predictions(port, trained.csv_body()) == expected
    assert predictions(port, json.dumps(trained.rows).encode(), JSON) == expected
    whole = trained.csv_body().splitlines(keepends=True)
    for size in (1, 7, 33):
        ends = range(size, len(whole) + 1, size)
        found = [v for end in ends for v in predictions(port, b"".join(whole[end - size : end]))]
        assert found == expected[: len(found)]


def test_predictions_do_not_depend_on_who_else_asks(
    trained: Trained, saved_model: Serving, fast_path: Serving
) -> None:
    lines = trained.csv_body().splitlines(keepends=True)
    for port in (saved_model.port, fast_path.port):
        alone = predictions(port, trained.csv_body())
        with ThreadPoolExecutor(16) as pool:
            together = list(pool.map(lambda line, at=port: predictions(at, line)[0], lines))
        assert together == alone


def test_the_fast_path_predicts_what_was_recorded_as_equal(
    trained: Trained, fast_path: Serving
) -> None:
    recorded = json.loads((trained.base / "model" / "fast_path.json").read_text())
    assert recorded["status"] == "equal"
    assert recorded["compared"]["largest_difference"] <= recorded["compared"]["limit"]
    found = predictions(fast_path.port, trained.csv_body())
    scale = recorded["compared"]["spread"]
    for got, wanted in zip(found, trained.expected, strict=True):
        assert abs(got - wanted) <= recorded["compared"]["limit"] * max(abs(wanted), scale)


@pytest.mark.parametrize(
    "row",
    [
        ["", "", "", "", "", "", "", "", ""],
        ["NA", "Ideal", "E", "SI1", "nan", "0", "0", "-1", "1e400"],
        ["1e300", "\u00a0Ideal", "e", "S\u0131", "-1e300", "1e-320", "inf", "-inf", "58.9"],
        ["0.5", "x" * 10_000, "\u2603", '"', "61", "55", "5", "5", "3"],
    ],
)
def test_odd_rows_get_the_same_answer_from_both(
    saved_model: Serving, fast_path: Serving, row: list[str]
) -> None:
    body = json.dumps([row]).encode()
    answers = [post(server.port, body, JSON) for server in (saved_model, fast_path)]
    assert answers[0][0] == answers[1][0]
    assert answers[0][0] in (200, 400)
    if answers[0][0] == 200:
        values = [json.loads(answer)["predictions"][0] for _, answer in answers]
        assert values[0] == pytest.approx(values[1], rel=1e-4)


# --- the start --------------------------------------------------------------------------------


def test_the_fast_path_needs_no_tensorflow_and_little_memory(fast_path: Serving) -> None:
    process = Path(f"/proc/{fast_path.process.pid}")
    assert "tensorflow_framework" not in (process / "maps").read_text()
    status = dict(line.split(":\t") for line in (process / "status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) < 120 * 1024


def test_the_savedmodel_needs_no_keras(saved_model: Serving) -> None:
    assert "/keras/" not in Path(f"/proc/{saved_model.process.pid}/maps").read_text()


def test_it_says_once_that_it_answers(trained: Trained) -> None:
    with serving(trained.base, **FAST) as running:
        predictions(running.port, trained.csv_body(trained.rows[:1]))
        status, out, _ = running.end()
    assert status == 0
    (line,) = out.splitlines()
    assert line.startswith(f"serve: port {running.port} · fast path (LiteRT) of ")


def test_an_access_log_is_had_by_asking(trained: Trained) -> None:
    with serving(trained.base, **FAST, MODEL_SERVER_ACCESS_LOG="1") as running:
        predictions(running.port, trained.csv_body(trained.rows[:1]))
        post(running.port, b"x")
        _, out, _ = running.end()
    lines = out.splitlines()[1:]
    assert [" ".join(line.split()[:3]) for line in lines] == [
        "GET /ping 200",
        "POST /invocations 200",
        "POST /invocations 400",
    ]


def test_the_layout_of_the_image_works_too(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(CONTAINER / "serving", tmp_path / "local" / "serving")
    shutil.copytree(CONTAINER / "bin", tmp_path / "local" / "bin")
    link = tmp_path / "serve"
    link.symlink_to(tmp_path / "local" / "bin" / "serve")
    with serving(trained.base, link, **FAST) as running:
        assert pings(running.port)


def test_no_model_is_a_start_error(tmp_path: Path) -> None:
    line = refuses_to_start(tmp_path)
    assert f"there is no model in {tmp_path}/model" in line
    (tmp_path / "model").mkdir()
    assert "there is no model" in refuses_to_start(tmp_path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"preprocessing.json": None}, "no preprocessing.json"),
        ({"preprocessing.json": "{"}, "preprocessing.json cannot be read"),
        ({"preprocessing.json": '{"inputs": 3}'}, "preprocessing.json cannot be read"),
        ({"1/saved_model.pb": None}, "saved_model.pb is missing"),
        ({"1/saved_model.pb": "broken"}, "cannot be used"),
        ({"1/variables/variables.index": None}, "cannot be used"),
        (
            {"preprocessing.json": '{"inputs": [{"column": "a", "name": "a", "type": "number"}]}'},
            "not the one that preprocessing.json describes",
        ),
    ],
)
def test_a_broken_model_is_a_start_error(
    trained: Trained, tmp_path: Path, changes: dict[str, str | None], part: str
) -> None:
    assert part in refuses_to_start(model_copy(trained, tmp_path, changes))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"fast_path.json": None}, "the model has none"),
        ({"fast_path.json": "{"}, "cannot be read"),
        ({"fast_path.json": '{"status": "absent", "reason": "no room"}'}, "absent: no room"),
        ({"fast_path.json": '{"status": "different", "compared": {}}'}, "found it different"),
        ({"fast_path.json": '{"status": "equal"}'}, "it fails: KeyError"),
        ({"fast_path.tflite": "another"}, "not the file that fast_path.json speaks of"),
        ({"fast_path.tflite": None}, "it fails: FileNotFoundError"),
    ],
)
def test_a_fast_path_that_is_not_equal_is_a_start_error(
    trained: Trained, tmp_path: Path, changes: dict[str, str | None], part: str
) -> None:
    base = model_copy(trained, tmp_path, changes)
    line = refuses_to_start(base, **FAST)
    assert part in line
    assert "MODEL_SERVER_FAST_PATH" in line


def test_a_fast_path_that_predicts_otherwise_here_is_a_start_error(
    trained: Trained, tmp_path: Path
) -> None:
    recorded = json.loads((trained.base / "model" / "fast_path.json").read_text())
    recorded["examples"]["predictions"][3] *= 1.01
    base = model_copy(trained, tmp_path, {"fast_path.json": json.dumps(recorded)})
    assert "for an example" in refuses_to_start(base, **FAST)


def test_a_wrong_setting_or_a_taken_port_is_a_start_error(trained: Trained) -> None:
    line = refuses_to_start(trained.base, MODEL_SERVER_WORKERS="many")
    assert "MODEL_SERVER_WORKERS is 'many'" in line
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        line = refuses_to_start(trained.base, SAGEMAKER_BIND_TO_PORT=port)
    assert f"port {port} cannot be had" in line


def test_a_stop_while_the_model_loads_ends_at_once(trained: Trained) -> None:
    process = start(trained.base, free_port())
    time.sleep(0.7)
    begin = time.monotonic()
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert time.monotonic() - begin < 5


# --- the stop ---------------------------------------------------------------------------------


def test_sigterm_answers_what_is_in_flight(trained: Trained) -> None:
    with serving(trained.base, **FAST) as running:
        body = trained.csv_body(trained.rows[:1])
        head = b"POST /invocations HTTP/1.1\r\ncontent-type: text/csv\r\ncontent-length: %d\r\n\r\n"
        with socket.create_connection(("127.0.0.1", running.port), 20) as client:
            client.sendall(head % len(body) + body[:5])
            time.sleep(0.2)
            running.process.terminate()
            deadline = time.monotonic() + 5
            while pings(running.port) and time.monotonic() < deadline:
                time.sleep(0.02)
            assert not pings(running.port)
            assert running.process.poll() is None
            client.sendall(body[5:])
            answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in answer
        assert running.process.wait(10) == 0


# --- workers ----------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def test_workers_share_the_port_and_end_together(trained: Trained) -> None:
    with serving(trained.base, **FAST, MODEL_SERVER_WORKERS="2") as running:
        assert len(children(running.process.pid)) == 2
        lines = trained.csv_body().splitlines(keepends=True)[:200]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda line: predictions(running.port, line)[0], lines))
        assert found == predictions(running.port, b"".join(lines))
        status, out, errors = running.end()
    assert status == 0
    assert len(out.splitlines()) == 1
    assert "Traceback" not in errors
    assert not pings(running.port)


def test_workers_that_cannot_start_leave_one_line(trained: Trained, tmp_path: Path) -> None:
    base = model_copy(trained, tmp_path, {"fast_path.tflite": "another"})
    line = refuses_to_start(base, **FAST, MODEL_SERVER_WORKERS="3")
    assert "not the file" in line


def test_a_worker_that_dies_young_ends_the_server(trained: Trained) -> None:
    with serving(trained.base, **FAST, MODEL_SERVER_WORKERS="2") as running:
        os.kill(children(running.process.pid)[0], signal.SIGKILL)
        _, errors = running.process.communicate(timeout=20)
        assert running.process.returncode == 1
    assert "ended with -9" in errors


def test_a_worker_that_dies_later_is_replaced(trained: Trained, tmp_path: Path) -> None:
    eager = tmp_path / "bin" / "serve"
    eager.parent.mkdir()
    shutil.copytree(CONTAINER / "serving", tmp_path / "serving")
    at_once = "import serving.workers\nserving.workers.RESTART_SECONDS = 0\nfrom serving.main"
    program = (CONTAINER / "bin" / "serve").read_text()
    eager.write_text(program.replace("from serving.main", at_once))
    with serving(trained.base, eager, **FAST, MODEL_SERVER_WORKERS="2") as running:
        before = children(running.process.pid)
        os.kill(before[0], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while len(set(children(running.process.pid)) - set(before)) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert pings(running.port)
        status, _, errors = running.end()
    assert status == 0
    assert "worker 0 ended with -9; another takes its place" in errors


def test_workers_end_when_their_launcher_was_killed(trained: Trained) -> None:
    port = free_port()
    process = start(trained.base, port, **FAST, MODEL_SERVER_WORKERS="2")
    deadline = time.monotonic() + 20
    while not pings(port):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    while pings(port):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.communicate(timeout=10)  # its pipes are closed once nobody holds them any more
