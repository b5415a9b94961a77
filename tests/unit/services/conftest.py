"""The SageMaker service over a real state store, with executions that only go into the book."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mlops.clock import SystemClock
from mlops.definition import bind_parameters, parse_definition
from mlops.errors import NoSuchBucket, NoSuchKey
from mlops.hosting import EndpointManager
from mlops.ports import (
    ExecutionRecord,
    ExecutionStatus,
    JsonObject,
    PipelineRecord,
    ResourceRecord,
    StateStore,
)
from mlops.runtimes.fake import FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer
from mlops.services import SageMakerService, ServiceRegistry
from mlops.settings import Settings
from mlops.stores.objects.memory import MemoryObjectStore
from mlops.stores.state import SqliteStateStore

ROLE = "arn:aws:iam::000000000000:role/mlops-execution"
DEFINITION = json.dumps(
    {
        "Version": "2020-12-01",
        "Metadata": {},
        "Parameters": [
            {"Name": "Threshold", "Type": "Float", "DefaultValue": 6.0},
            {"Name": "Approval", "Type": "String", "DefaultValue": "Approved"},
        ],
        "Steps": [
            {
                "Name": "Stop",
                "Type": "Fail",
                "DisplayName": "The end",
                "Arguments": {"ErrorMessage": "no"},
            }
        ],
    }
)


class TickingClock:
    """Each look at it is a second later."""

    def __init__(self) -> None:
        self._at = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._at += timedelta(seconds=1)
        return self._at

    def monotonic(self) -> float:
        return self._at.timestamp()


class RecordedExecutions:
    """``services.executions.Executions`` that writes the record and runs nothing."""

    def __init__(self, state: StateStore, clock: TickingClock) -> None:
        self._state = state
        self._clock = clock
        self._count = 0

    def start(
        self,
        pipeline: PipelineRecord,
        *,
        parameters: Mapping[str, str],
        max_parallel_steps: int | None = None,
        display_name: str | None = None,
        description: str | None = None,
        client_request_token: str | None = None,
        cache_mode: str | None = None,
        selective: JsonObject | None = None,
    ) -> ExecutionRecord:
        bind_parameters(parse_definition(pipeline.definition), parameters)
        before = self._state.find_execution_by_token(pipeline.name, client_request_token or "")
        if before is not None:
            return before
        self._count += 1
        now = self._clock.now()
        execution = ExecutionRecord(
            arn=f"{pipeline.arn}/execution/{self._count:012}",
            id=f"{self._count:012}",
            pipeline_name=pipeline.name,
            pipeline_arn=pipeline.arn,
            definition=pipeline.definition,
            parameters=parameters,
            status=ExecutionStatus.EXECUTING,
            display_name=display_name or f"execution-{self._count}",
            started_at=now,
            last_modified_at=now,
            description=description,
            max_parallel_steps=max_parallel_steps or pipeline.max_parallel_steps,
            client_request_token=client_request_token,
            selective=selective,
        )
        self._state.put_execution(execution)
        return execution

    def retry(
        self,
        arn: str,
        *,
        max_parallel_steps: int | None = None,
        client_request_token: str | None = None,
    ) -> None:
        self.end(arn, ExecutionStatus.EXECUTING)

    def stop(self, arn: str) -> None:
        self.end(arn, ExecutionStatus.STOPPING)

    def end(self, arn: str, status: ExecutionStatus) -> None:
        execution = self._state.get_execution(arn)
        assert execution is not None
        self._state.put_execution(replace(execution, status=status))


class TextObjects:
    """The part of an ObjectStore that CreatePipeline reads: objects held as text."""

    def __init__(self) -> None:
        self.texts: dict[tuple[str, str], str] = {}

    def open(self, bucket: str, key: str) -> BinaryIO:
        if bucket not in {name for name, _ in self.texts}:
            raise NoSuchBucket(f"There is no bucket {bucket}")
        if (bucket, key) not in self.texts:
            raise NoSuchKey(f"There is no object {key}")
        return io.BytesIO(self.texts[bucket, key].encode())


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[SqliteStateStore]:
    store = SqliteStateStore(tmp_path / "state.db")
    yield store
    store.close()


class NoJobs:
    """``services.jobs.DirectJobs`` for tests that ask for none."""

    def create(self, kind: str, request: JsonObject, arn: str) -> ResourceRecord:
        raise AssertionError

    def stop(self, record: ResourceRecord) -> None:
        raise AssertionError

    def delete(self, record: ResourceRecord) -> None:
        raise AssertionError


@pytest.fixture
def objects() -> TextObjects:
    return TextObjects()


@pytest.fixture
def executions(state: SqliteStateStore, clock: TickingClock) -> RecordedExecutions:
    return RecordedExecutions(state, clock)


@pytest.fixture
def runtime() -> FakeRuntime:
    """What endpoints run on; every server answers at once, with the request."""
    return FakeRuntime(FakeModelServer())


@pytest.fixture
def hosting(
    state: SqliteStateStore, runtime: FakeRuntime, tmp_path: Path
) -> Iterator[EndpointManager]:
    settings = Settings(store=tmp_path)
    made = EndpointManager(
        MemoryObjectStore(),
        state,
        runtime,
        SystemClock(),
        settings,
        lambda: "http://127.0.0.1:1",
        lambda name: runtime,
        pause_seconds=0.01,
    )
    yield made
    made.close()
    runtime.remove_leftovers({})


@pytest.fixture
def service(
    state: SqliteStateStore,
    objects: Any,
    executions: RecordedExecutions,
    hosting: EndpointManager,
    clock: TickingClock,
) -> SageMakerService:
    jobs = NoJobs()
    return SageMakerService(state, objects, executions, jobs, hosting, Settings(), clock)


@pytest.fixture
def registry(state: SqliteStateStore, clock: TickingClock) -> ServiceRegistry:
    return ServiceRegistry(state, Settings(), clock)


Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(service: SageMakerService) -> Call:
    """``call("CreatePipeline", PipelineName=…)``: one request, its answer."""

    def answer(operation: str, **request: Any) -> dict[str, Any]:
        return service.handle(operation, request)

    return answer


@pytest.fixture
def pipeline(call: Call) -> str:
    """The name of a pipeline that has been created."""
    call(
        "CreatePipeline",
        PipelineName="Lab-Pipeline",
        PipelineDefinition=DEFINITION,
        RoleArn=ROLE,
        ClientRequestToken="c" * 32,
    )
    return "Lab-Pipeline"


@pytest.fixture
def start(call: Call, pipeline: str) -> Callable[..., str]:
    """Start an execution and give its ARN."""
    count = iter(range(1000))

    def started(**request: Any) -> str:
        token = f"{next(count):032}"
        request = {"PipelineName": pipeline, "ClientRequestToken": token, **request}
        arn: str = call("StartPipelineExecution", **request)["PipelineExecutionArn"]
        return arn

    return started
