"""What every StateStore promises; runs on each implementation of the port."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import pytest

from mlops.errors import DiskFull, StoreError
from mlops.ports import (
    ExecutionRecord,
    ExecutionStatus,
    ModelPackageGroupRecord,
    ModelPackageRecord,
    ModelRecord,
    PipelineRecord,
    ResourceRecord,
    StateStore,
    StepRecord,
    StepStatus,
)
from mlops.stores.state import SqliteStateStore
from mlops.stores.state.schema import MIGRATIONS

START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ARN = "arn:aws:sagemaker:us-east-1:000000000000"


def pipeline(name: str = "Lab", definition: str = '{"Version": "2020-12-01"}') -> PipelineRecord:
    return PipelineRecord(
        name=name,
        arn=f"{ARN}:pipeline/{name}",
        definition=definition,
        role_arn="arn:aws:iam::000000000000:role/r",
        created_at=START,
        last_modified_at=START,
        description="größer ✓",
        max_parallel_steps=3,
    )


def execution(number: int, name: str = "Lab", **more: object) -> ExecutionRecord:
    base = ExecutionRecord(
        arn=f"{ARN}:pipeline/{name}/execution/{number:012}",
        id=f"{number:012}",
        pipeline_name=name,
        pipeline_arn=f"{ARN}:pipeline/{name}",
        definition='{"Version": "2020-12-01"}',
        parameters={"MseThreshold": "0.03"},
        status=ExecutionStatus.EXECUTING,
        display_name=f"execution-{number}",
        started_at=START + timedelta(seconds=number),
        last_modified_at=START,
    )
    return replace(base, **more)  # type: ignore[arg-type]  # the fields of a dataclass, by name


def step(name: str, position: int, **more: object) -> StepRecord:
    base = StepRecord(
        execution_arn=execution(1).arn,
        name=name,
        type="Processing",
        status=StepStatus.EXECUTING,
        started_at=START,
        position=position,
    )
    return replace(base, **more)  # type: ignore[arg-type]  # the fields of a dataclass, by name


def group(name: str = "Diamonds") -> ModelPackageGroupRecord:
    return ModelPackageGroupRecord(
        name=name, arn=f"{ARN}:model-package-group/{name}", created_at=START
    )


def package(group_name: str = "Diamonds") -> ModelPackageRecord:
    return ModelPackageRecord(
        arn=f"{ARN}:model-package/{group_name}/0",
        group_name=group_name,
        version=0,
        approval_status="Approved",
        created_at=START,
        last_modified_at=START,
        request={"InferenceSpecification": {"Containers": [{"Image": "i"}]}},
    )


@pytest.fixture(params=[SqliteStateStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteStateStore]:
    made = request.param(tmp_path / "new" / "state.db")
    yield made
    made.close()


def test_a_missing_thing_is_none(store: StateStore) -> None:
    assert store.get_pipeline("x") is None
    assert store.get_execution("x") is None
    assert store.get_model_package_group("x") is None
    assert store.get_model_package("x") is None
    assert store.get_model("x") is None
    assert store.find_execution_by_token("x", "t") is None
    assert store.find_step_by_job("Processing", "x") is None
    assert store.list_steps("x") == []
    assert store.events_after("x", 0) == []
    assert store.get_tags("x") == {}


def test_a_pipeline_comes_back_as_it_was(store: StateStore) -> None:
    store.put_pipeline(pipeline())
    assert store.get_pipeline("Lab") == pipeline()
    changed = replace(pipeline(), definition='{"Steps": []}', max_parallel_steps=None)
    store.put_pipeline(changed)
    assert store.list_pipelines() == [changed]


def test_pipelines_are_listed_in_the_order_of_their_making(store: StateStore) -> None:
    for name in ("b", "a", "c"):
        store.put_pipeline(pipeline(name))
    store.put_pipeline(replace(pipeline("b"), description="later"))
    assert [row.name for row in store.list_pipelines()] == ["b", "a", "c"]


def test_deleting_a_pipeline_deletes_what_it_ran_and_nothing_else(store: StateStore) -> None:
    store.put_pipeline(pipeline())
    store.put_pipeline(pipeline("Other"))
    store.put_execution(execution(1))
    store.put_execution(execution(2, "Other"))
    store.put_step(step("ETL", 0))
    store.append_event(execution(1).arn, START, "execution", {})
    store.delete_pipeline("Lab")
    assert store.get_pipeline("Lab") is None
    assert store.get_execution(execution(1).arn) is None
    assert store.list_steps(execution(1).arn) == []
    assert store.events_after(execution(1).arn, 0) == []
    assert store.get_execution(execution(2, "Other").arn) == execution(2, "Other")


def test_executions_page_by_page(store: StateStore) -> None:
    for number in range(5):
        store.put_execution(execution(number))
    store.put_execution(execution(9, "Other"))

    def numbers(**how: object) -> list[int]:
        return [int(row.id) for row in store.list_executions("Lab", **how)]  # type: ignore[arg-type]  # keywords of one call

    assert numbers() == [4, 3, 2, 1, 0]
    assert numbers(newest_first=False, limit=2) == [0, 1]
    assert numbers(limit=2, offset=2) == [2, 1]
    assert numbers(offset=4) == [0]
    assert numbers(started_after=START + timedelta(seconds=1)) == [4, 3, 2]
    assert numbers(started_before=START + timedelta(seconds=1)) == [0]
    assert len(store.list_executions()) == 6


def test_an_execution_is_changed_in_place(store: StateStore) -> None:
    store.put_execution(execution(1))
    store.put_execution(execution(2))
    ended = execution(1, status=ExecutionStatus.FAILED, failure_reason="Step failure")
    store.put_execution(ended)
    assert store.get_execution(ended.arn) == ended
    assert store.unfinished_executions() == [execution(2)]


def test_a_stopping_execution_is_unfinished(store: StateStore) -> None:
    for number, status in enumerate(ExecutionStatus):
        store.put_execution(execution(number, status=status))
    assert [row.status for row in store.unfinished_executions()] == [
        status for status in ExecutionStatus if not status.ended
    ]


def test_an_execution_is_found_by_its_token(store: StateStore) -> None:
    store.put_execution(execution(1, client_request_token="t" * 32))
    store.put_execution(execution(2))
    found = store.find_execution_by_token("Lab", "t" * 32)
    assert found is not None
    assert found.id == execution(1).id
    assert store.find_execution_by_token("Other", "t" * 32) is None


def test_an_execution_is_found_by_its_id(store: StateStore) -> None:
    store.put_execution(execution(1))
    assert store.find_execution(execution(1).id) == execution(1)
    assert store.find_execution("none") is None


def test_steps_in_the_order_of_their_start(store: StateStore) -> None:
    store.put_step(step("Train", 1))
    store.put_step(step("ETL", 0))
    done = step(
        "ETL",
        0,
        status=StepStatus.SUCCEEDED,
        ended_at=START + timedelta(seconds=2),
        outputs={"ProcessingOutputConfig": {"Outputs": [{"OutputName": "train"}]}},
        metadata={"ProcessingJob": {"Arn": "a"}},
        job_name="pipelines-1-ETL",
        cache_hit=True,
        overhead_seconds=0.25,
        log="executions/1/ETL/log.txt",
    )
    store.put_step(done)
    assert store.list_steps(done.execution_arn) == [done, step("Train", 1)]


def test_steps_are_found_by_the_job_that_they_made(store: StateStore) -> None:
    first = step("ETL", 0, job_name="job-1")
    second = step("Evaluate", 1, job_name="job-2", started_at=START + timedelta(seconds=1))
    for record in (first, second, step("Train", 2, type="Training", job_name="job-1")):
        store.put_step(record)
    store.put_step(step("Waiting", 3))
    assert store.find_step_by_job("Processing", "job-1") == first
    assert list(store.list_job_steps("Processing")) == [second, first]


def test_events_count_from_one_in_each_execution(store: StateStore) -> None:
    one, two = execution(1).arn, execution(2).arn
    events = [
        store.append_event(one, START, "execution", {"status": "Executing"}),
        store.append_event(two, START, "execution", {"status": "Executing"}),
        store.append_event(one, START, "step", {"name": "ETL", "seconds": 1.5}),
    ]
    assert [event.sequence for event in events] == [1, 1, 2]
    assert store.events_after(one, 0) == [events[0], events[2]]
    assert store.events_after(one, 1) == [events[2]]
    assert store.events_after(one, 2) == []


def test_events_from_many_threads_lose_no_number(store: StateStore) -> None:
    arn = execution(1).arn

    def append() -> None:
        for _ in range(20):
            store.append_event(arn, START, "step", {})

    threads = [threading.Thread(target=append) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [event.sequence for event in store.events_after(arn, 0)] == list(range(1, 101))


def test_versions_count_up_and_are_never_given_twice(store: StateStore) -> None:
    store.put_model_package_group(group())
    assert [store.add_model_package(package()).version for _ in range(3)] == [1, 2, 3]
    newest = f"{ARN}:model-package/Diamonds/3"
    store.delete_model_package(newest)
    store.put_model_package_group(replace(group(), description="changed"))
    added = store.add_model_package(package())
    assert added.version == 4
    assert added.arn.endswith("/Diamonds/4")
    assert [row.version for row in store.list_model_packages("Diamonds")] == [1, 2, 4]


def test_a_package_needs_its_group(store: StateStore) -> None:
    with pytest.raises(StoreError, match="no model package group Nowhere"):
        store.add_model_package(package("Nowhere"))


def test_packages_and_groups_come_back_as_they_were(store: StateStore) -> None:
    store.put_model_package_group(group())
    store.put_model_package_group(group("Abalone"))
    first = store.add_model_package(package())
    other = store.add_model_package(package("Abalone"))
    approved = replace(first, approval_status="Rejected", approval_description="too slow")
    store.update_model_package(approved)
    assert store.get_model_package(first.arn) == approved
    assert store.list_model_packages() == [approved, other]
    assert [row.name for row in store.list_model_package_groups()] == ["Diamonds", "Abalone"]
    store.delete_model_package_group("Abalone")
    assert store.list_model_package_groups() == [group()]


def test_models(store: StateStore) -> None:
    made = ModelRecord(name="m", arn=f"{ARN}:model/m", created_at=START, request={"a": [1]})
    store.put_model(made)
    assert store.get_model("m") == made
    assert store.list_models() == [made]
    store.delete_model("m")
    assert store.list_models() == []


def resource(kind: str, name: str, **more: object) -> ResourceRecord:
    base = ResourceRecord(
        kind=kind,
        name=name,
        arn=f"{ARN}:{kind}/{name}",
        created_at=START,
        last_modified_at=START,
        status="Creating",
        document={"variants": [{"weight": 0.5}], "text": "größer ✓"},
    )
    return replace(base, **more)  # type: ignore[arg-type]  # the fields of a dataclass, by name


def test_resources_of_any_kind(store: StateStore) -> None:
    assert store.get_resource("endpoint", "x") is None
    for name in ("b", "a"):
        store.put_resource(resource("endpoint", name))
    store.put_resource(resource("endpoint-config", "a"))
    changed = resource(
        "endpoint", "b", status="InService", last_modified_at=START + timedelta(seconds=1)
    )
    store.put_resource(changed)
    assert store.get_resource("endpoint", "b") == changed
    assert store.list_resources("endpoint") == [changed, resource("endpoint", "a")]
    store.delete_resource("endpoint", "a")
    assert store.list_resources("endpoint") == [changed]
    assert store.list_resources("endpoint-config") == [resource("endpoint-config", "a")]
    assert store.list_resources("function") == []


def test_tags(store: StateStore) -> None:
    store.set_tags("arn", {"a": "1", "b": "2"})
    store.set_tags("arn", {"b": "3", "c": ""})
    store.delete_tags("arn", ["a", "never"])
    assert store.get_tags("arn") == {"b": "3", "c": ""}
    assert store.get_tags("other") == {}


def put_and_fail(store: StateStore, name: str) -> None:
    with store.transaction():
        store.put_pipeline(pipeline(name))
        raise RuntimeError


def test_a_transaction_is_all_or_nothing(store: StateStore) -> None:
    with pytest.raises(RuntimeError):
        put_and_fail(store, "Lab")
    assert store.list_pipelines() == []
    with store.transaction():
        store.put_pipeline(pipeline())
        with pytest.raises(RuntimeError):
            put_and_fail(store, "inner")
    assert store.list_pipelines() == [pipeline()]


def test_another_thread_never_sees_half_of_a_transaction(store: StateStore) -> None:
    seen: list[int] = []
    inside, reader = threading.Event(), threading.Thread()

    def read() -> None:
        inside.wait(5)
        seen.append(len(store.list_pipelines()))

    reader = threading.Thread(target=read)
    reader.start()
    with store.transaction():
        store.put_pipeline(pipeline("a"))
        inside.set()
        store.put_pipeline(pipeline("b"))
    reader.join()
    assert seen == [2]


def test_a_page_of_many_executions_is_quick(store: StateStore) -> None:
    definition = '{"Version": "2020-12-01", "Metadata": "' + "x" * 20_000 + '"}'
    with store.transaction():
        for number in range(10_000):
            store.put_execution(
                execution(
                    number,
                    definition=definition,
                    status=ExecutionStatus.SUCCEEDED if number else ExecutionStatus.EXECUTING,
                )
            )
    begin = perf_counter()
    last = store.list_executions("Lab", limit=100, offset=9_900)
    assert len(store.unfinished_executions()) == 1
    seconds = perf_counter() - begin
    assert [int(row.id) for row in last[-2:]] == [1, 0]
    # Without the index it takes 20 times as long; the bound is wide for a busy machine.
    assert seconds < 0.5


class TestSqlite:
    """What only the SQLite file promises."""

    def test_what_was_written_is_there_for_the_next_process(self, tmp_path: Path) -> None:
        first = SqliteStateStore(tmp_path / "state.db")
        first.put_pipeline(pipeline())
        # No close: the second one opens the files as kill -9 would leave them.
        second = SqliteStateStore(tmp_path / "state.db")
        assert second.get_pipeline("Lab") == pipeline()
        first.close()
        second.close()

    def test_a_file_of_the_first_version_is_brought_up_to_date(self, tmp_path: Path) -> None:
        file = tmp_path / "state.db"
        with sqlite3.connect(file) as connection:
            connection.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
        connection.close()
        store = SqliteStateStore(file)
        store.put_resource(resource("endpoint", "a"))
        assert store.list_resources("endpoint") == [resource("endpoint", "a")]
        store.close()

    def test_a_newer_file_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "state.db"
        SqliteStateStore(file).close()
        with sqlite3.connect(file) as connection:
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        connection.close()
        with pytest.raises(StoreError, match="a newer mlops wrote it") as caught:
            SqliteStateStore(file)
        assert "update mlops" in str(caught.value)

    def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "state.db"
        file.write_text("not a database, and long enough to be read as one" * 100)
        with pytest.raises(StoreError, match="no sound database"):
            SqliteStateStore(file)

    def test_a_full_disk_is_told_and_costs_nothing_stored(self, tmp_path: Path) -> None:
        store = SqliteStateStore(tmp_path / "state.db")
        store.put_pipeline(pipeline())
        # SQLite's own limit stands in for the disk's: both end in SQLITE_FULL.
        store._run("PRAGMA max_page_count = 1")
        with pytest.raises(DiskFull, match="disk is full"):
            store.put_pipeline(pipeline("Large", definition="x" * 1_000_000))
        assert store.list_pipelines() == [pipeline()]
        store._run("PRAGMA max_page_count = 1000000")
        store.put_pipeline(pipeline("Later"))
        store.close()

    def test_one_text_is_kept_once(self, tmp_path: Path) -> None:
        file = tmp_path / "state.db"
        store = SqliteStateStore(file)
        store.put_pipeline(pipeline())
        store.put_execution(execution(1))
        store.close()
        with sqlite3.connect(file) as connection:
            assert connection.execute("SELECT count(*) FROM definitions").fetchone() == (1,)
        connection.close()


def test_clear_forgets_everything(store: StateStore) -> None:
    store.put_pipeline(pipeline())
    store.set_tags(pipeline().arn, {"team": "lab"})
    store.clear()
    assert store.list_pipelines() == []
    assert store.get_tags(pipeline().arn) == {}
    store.put_pipeline(pipeline())
    assert store.get_pipeline("Lab") == pipeline()
