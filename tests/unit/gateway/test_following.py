"""What is new in an execution: events, logs, and when all has been told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.gateway import following
from mlops.gateway.following import Follower, read_from
from mlops.ports import Event, ExecutionRecord, ExecutionStatus, StepRecord, StepStatus
from mlops.stores.state import SqliteStateStore

ARN = "arn:aws:sagemaker:us-east-1:000000000000:pipeline/p/execution/e"
AT = datetime(2026, 3, 1, tzinfo=UTC)


class StoredEvents:
    """``following.EventSource`` that looks into the store, and waits as long as it may."""

    def __init__(self, state: SqliteStateStore) -> None:
        self._state = state

    def follow(self, arn: str, after: int, timeout: float) -> Sequence[Event]:
        deadline = time.monotonic() + timeout
        while not (found := self._state.events_after(arn, after)) and time.monotonic() < deadline:
            time.sleep(0.005)
        return found


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteStateStore]:
    store = SqliteStateStore(tmp_path / "state.db")
    put_execution(store, ExecutionStatus.EXECUTING)
    store.put_step(
        StepRecord(
            execution_arn=ARN,
            name="ETL",
            type="Processing",
            status=StepStatus.EXECUTING,
            started_at=AT,
            position=0,
            log="log.txt",
        )
    )
    yield store
    store.close()


def put_execution(state: SqliteStateStore, status: ExecutionStatus) -> None:
    state.put_execution(
        ExecutionRecord(
            arn=ARN,
            id="e",
            pipeline_name="p",
            pipeline_arn=ARN.rpartition("/execution")[0],
            definition="{}",
            parameters={},
            status=status,
            display_name="e",
            started_at=AT,
            last_modified_at=AT,
        )
    )


@pytest.fixture
def stopping() -> threading.Event:
    return threading.Event()


@pytest.fixture
def follower(state: SqliteStateStore, tmp_path: Path, stopping: threading.Event) -> Follower:
    return Follower(state, StoredEvents(state), tmp_path, stopping)


def test_nothing_new_until_the_time_is_up(follower: Follower) -> None:
    begin = time.monotonic()
    news = follower.follow(ARN, 0, {}, 0.2)
    assert news == {"status": "Executing", "events": [], "logs": {}}
    assert time.monotonic() - begin >= 0.19


def test_events_and_logs_from_where_the_caller_is(
    follower: Follower, state: SqliteStateStore, tmp_path: Path
) -> None:
    for number in range(3):
        state.append_event(ARN, AT, "step", {"name": "ETL", "number": number})
    (tmp_path / "log.txt").write_text("one\ntwo\n")
    news = follower.follow(ARN, 2, {"ETL": 4}, 5)
    assert [event["sequence"] for event in news["events"]] == [3]
    assert news["events"][0]["data"] == {"name": "ETL", "number": 2}
    assert news["logs"] == {"ETL": {"text": "two\n", "offset": 8}}
    assert follower.follow(ARN, 3, {"ETL": 8}, 0)["logs"] == {}


def test_a_log_that_grows_wakes_the_follower(follower: Follower, tmp_path: Path) -> None:
    timer = threading.Timer(0.1, (tmp_path / "log.txt").write_text, ["late\n"])
    timer.start()
    begin = time.monotonic()
    assert follower.follow(ARN, 0, {}, 20)["logs"]["ETL"]["text"] == "late\n"
    assert time.monotonic() - begin < 5


def test_an_end_returns_at_once(follower: Follower, state: SqliteStateStore) -> None:
    put_execution(state, ExecutionStatus.SUCCEEDED)
    begin = time.monotonic()
    assert follower.follow(ARN, 0, {}, 20)["status"] == "Succeeded"
    assert time.monotonic() - begin < 5


def test_a_deleted_execution_has_nothing_to_wait_for(
    follower: Follower, state: SqliteStateStore
) -> None:
    state.delete_pipeline("p")
    assert follower.follow(ARN, 0, {}, 20)["status"] == "Stopped"


def test_a_gateway_that_leaves_lets_go_of_followers(
    follower: Follower, stopping: threading.Event
) -> None:
    threading.Timer(0.1, stopping.set).start()
    begin = time.monotonic()
    follower.follow(ARN, 0, {}, 20)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("text", ["a", "ä", "a€", "😀", "aä€😀"])
def test_characters_arrive_whole(tmp_path: Path, text: str) -> None:
    data = text.encode()
    log = tmp_path / "log.txt"
    for cut in range(len(data) + 1):
        log.write_bytes(data[:cut])
        first, offset = read_from(log, 0)
        log.write_bytes(data)
        second, end = read_from(log, offset)
        assert first + second == text
        assert end == len(data)


def test_bytes_that_are_no_utf_8_do_not_stop_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"a\xff\xfe\x80\x80\x80\x80b\n")
    text, offset = read_from(log, 0)
    assert (text[0], text[-2:], offset) == ("a", "b\n", 9)


def test_a_large_log_comes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "MAXIMUM_LOG", 7)
    log = tmp_path / "log.txt"
    log.write_text("äöü" * 5)
    text, offset = "", 0
    while part := read_from(log, offset)[0]:
        text, offset = text + part, read_from(log, offset)[1]
    assert text == "äöü" * 5


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    assert read_from(tmp_path / "none", 3) == ("", 3)


def test_each_attempt_of_a_step_has_a_log_of_its_own(
    follower: Follower, state: SqliteStateStore, tmp_path: Path
) -> None:
    (step,) = state.list_steps(ARN)
    folder = tmp_path / "ETL" / "attempt-2"
    folder.mkdir(parents=True)
    (folder.parent / "log.txt").write_text("first\n")
    (folder / "log.txt").write_text("second\n")
    state.put_step(replace(step, attempts=2, log="ETL/attempt-2/log.txt"))
    news = follower.follow(ARN, 0, {"ETL": 3}, 0)
    assert news["logs"] == {
        "ETL": {"text": "st\n", "offset": 6},
        "ETL/attempt-2": {"text": "second\n", "offset": 7},
    }
