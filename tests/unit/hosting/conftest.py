"""Endpoints on the fake runtime: servers are real HTTP servers in threads, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops.clock import SystemClock
from mlops.hosting import EndpointManager
from mlops.hosting.endpoint import Endpoint, EndpointStatus
from mlops.hosting.invocation import Invocation
from mlops.hosting.plan import DeploymentPlan, VariantPlan
from mlops.ports import SERVERS_LABEL
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply
from mlops.settings import Settings
from mlops.stores.objects.memory import MemoryObjectStore
from mlops.stores.state import SqliteStateStore

ARN = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e"
SOON = 20.0


def who(container: FakeContainer, body: bytes, _: Any) -> Reply:
    """Answers with the variable WHO of the container and the body."""
    return Reply(container.job.environment.get("WHO", "").encode() + body)


def variant(name: str = "AllTraffic", **more: Any) -> VariantPlan:
    base = VariantPlan(
        name=name,
        model_name="m",
        image="image",
        environment={"WHO": name},
        data=None,
        weight=1.0,
        count=1,
    )
    return replace(base, **more)


def plan(*variants: VariantPlan, config: str = "c") -> DeploymentPlan:
    return DeploymentPlan(config_name=config, variants=variants or (variant(),))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.005)


class House:
    """One state folder, and the gateways that come and go over it."""

    def __init__(self, folder: Path, runtime: FakeRuntime) -> None:
        self.settings = Settings(store=folder)
        self.state = SqliteStateStore(folder / "state.db")
        self.objects = MemoryObjectStore()
        self.runtime = runtime
        self.others: dict[str, FakeRuntime] = {}
        self.manager = self.next_gateway()

    def next_gateway(self, runtime: FakeRuntime | None = None) -> EndpointManager:
        """Another gateway over the same state, which has recovered."""
        self.runtime = runtime or self.runtime
        self.manager = EndpointManager(
            self.objects,
            self.state,
            self.runtime,
            SystemClock(),
            self.settings,
            lambda: "http://127.0.0.1:4566",
            lambda name: self.others[name],
            pause_seconds=0.01,
        )
        self.manager.recover()
        return self.manager

    def create(self, *variants: VariantPlan, name: str = "e", config: str = "c") -> Endpoint:
        return self.manager.create(name, ARN, plan(*variants, config=config), None)

    def serving(self, *variants: VariantPlan, name: str = "e") -> Endpoint:
        """An endpoint in service."""
        endpoint = self.create(*variants, name=name)
        endpoint.wait(SOON)
        assert endpoint.status is EndpointStatus.IN_SERVICE, endpoint.failure_reason
        return endpoint

    def invoke(self, body: bytes = b"", name: str = "e", **more: Any) -> bytes:
        answer = self.manager.invoke(name, Invocation(body, **more))
        return b"".join(answer.body)

    def servers(self) -> int:
        """How many servers of the folder run."""
        found = self.runtime.find_servers({SERVERS_LABEL: str(self.settings.store)})
        return sum(server.poll() is None for server in found)


@pytest.fixture
def server() -> FakeModelServer:
    """What every container does."""
    return FakeModelServer(who)


@pytest.fixture
def house(tmp_path: Path, server: FakeModelServer) -> Iterator[House]:
    made = House(tmp_path, FakeRuntime(server))
    yield made
    made.manager.close()
    for runtime in (made.runtime, *made.others.values()):
        runtime.remove_leftovers({})
    made.state.close()
