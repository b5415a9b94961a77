"""A world of AWS in memory, and stacks in it: no gateway, no clock, no disk."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from mlops.errors import ServiceError
from mlops.ports import JsonObject, ResourceRecord, StateStore
from mlops.services.cloudformation import StackHost
from mlops.settings import Settings

ACCOUNT = "000000000000"


class Killed(BaseException):
    """The gateway is gone in the middle of a call: whoever made it does nothing more."""


class MemoryState:
    """The part of `ports.StateStore` that stacks are kept by."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], ResourceRecord] = {}
        self._lock = threading.RLock()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            yield

    def put_resource(self, resource: ResourceRecord) -> None:
        with self._lock:
            document = json.loads(json.dumps(resource.document))
            self._records[resource.kind, resource.name] = replace(resource, document=document)

    def get_resource(self, kind: str, name: str) -> ResourceRecord | None:
        with self._lock:
            return self._records.get((kind, name))

    def list_resources(self, kind: str) -> list[ResourceRecord]:
        with self._lock:
            found = [record for record in self._records.values() if record.kind == kind]
        return sorted(found, key=lambda record: record.created_at)

    def delete_resource(self, kind: str, name: str) -> None:
        with self._lock:
            self._records.pop((kind, name), None)


class TickingClock:
    def __init__(self) -> None:
        self._now = datetime(2026, 3, 1, tzinfo=UTC)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        with self._lock:
            self._now += timedelta(milliseconds=1)
            return self._now

    def monotonic(self) -> float:
        return self.now().timestamp()

    def advance(self, **by: float) -> None:
        with self._lock:
            self._now += timedelta(**by)


class World:
    """Models, endpoint configurations, endpoints and log groups, as far as stacks ask for them.

    From call number `dies_at` on, which is carried out where `after` says so, every call kills.
    """

    region = "us-east-1"

    def __init__(self) -> None:
        self.things: dict[tuple[str, str], JsonObject] = {}
        self.calls: list[str] = []
        self.refused: dict[str, ServiceError] = {}
        """Errors by operation, or by operation and name."""
        self.failing_configs: set[str] = set()
        """Endpoints do not come up with a configuration whose name begins so."""
        self.dies_at: int | None = None
        self.after = False
        self.killed = False
        self.most_at_once = 0
        self.gate: Callable[[str], None] = lambda operation: None
        self._at_once = 0
        self._lock = threading.Lock()

    def names(self, kind: str) -> list[str]:
        return sorted(name for each, name in self.things if each == kind)

    def call(self, service: str, operation: str, **request: Any) -> JsonObject:
        with self._lock:
            number = len(self.calls)
            self.calls.append(operation)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.dies_at is not None and number >= self.dies_at:
                if self.after and number == self.dies_at:
                    with self._lock:
                        self._answer(operation, request)
                self.killed = True
                raise Killed
            self.gate(operation)
            with self._lock:
                return self._answer(operation, request)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answer(self, operation: str, request: JsonObject) -> JsonObject:
        verb = next(
            v for v in ("Create", "Describe", "Delete", "Update") if operation[: len(v)] == v
        )
        kind = operation.removeprefix(verb)
        name = request[f"{kind}Name"]
        for key in (operation, f"{operation} {name}"):
            if key in self.refused:
                raise self.refused[key]
        there = self.things.get((kind, name))
        if verb == "Create":
            if there is not None:
                raise ServiceError("ValidationException", f"Cannot create already existing {name}")
            self.things[kind, name] = self._made(kind, name, request)
            return {}
        if there is None:
            raise ServiceError("ValidationException", f'Could not find {kind} "{name}".')
        if verb == "Delete":
            del self.things[kind, name]
            return {}
        if verb == "Update":
            # As the service: one that fails goes on with the configuration it had.
            wanted = request["EndpointConfigName"]
            if not any(wanted.startswith(each) for each in self.failing_configs):
                there |= {"EndpointConfigName": wanted}
            return {}
        return dict(there)

    def _made(self, kind: str, name: str, request: JsonObject) -> JsonObject:
        arn = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:{kind.lower()}/{name}"
        made = {**request, f"{kind}Name": name, f"{kind}Arn": arn}
        if kind == "Endpoint":
            config = request["EndpointConfigName"]
            failing = any(config.startswith(each) for each in self.failing_configs)
            made["EndpointStatus"] = "Failed" if failing else "InService"
            made |= {"FailureReason": "it does not listen"} if failing else {}
        return made


class Stacks:
    """A StackHost, and short ways to use it."""

    def __init__(self, world: World, state: MemoryState | None = None) -> None:
        self.world = world
        self.state = state or MemoryState()
        self.leaving = threading.Event()
        self.clock = TickingClock()
        self.host = StackHost(
            cast("StateStore", self.state),
            Settings(),
            self.clock,
            lambda: "http://127.0.0.1:1",
            self.leaving,
            aws=world,
        )

    def ask(self, operation: str, **request: Any) -> JsonObject:
        """One operation; members as a form has them."""
        form: JsonObject = {}
        for name, value in request.items():
            if isinstance(value, dict):
                for position, (key, text) in enumerate(value.items(), 1):
                    head = f"{name}.member.{position}."
                    keys = (
                        ("Key", "Value") if name == "Tags" else ("ParameterKey", "ParameterValue")
                    )
                    form[head + keys[0]], form[head + keys[1]] = key, text
            else:
                form[name] = value
        return self.host.handle(operation, form)

    def create(self, template: str, **more: Any) -> JsonObject:
        """Create the stack ``s`` and wait until it rests."""
        self.ask("CreateStack", StackName="s", TemplateBody=template, **more)
        return self.rested()

    def update(self, template: str, **more: Any) -> JsonObject:
        self.ask("UpdateStack", StackName="s", TemplateBody=template, **more)
        return self.rested()

    def delete(self) -> JsonObject:
        stack = self.ask("DescribeStacks", StackName="s")["Stacks"][0]["StackId"]
        self.ask("DeleteStack", StackName="s")
        return self.rested(stack)

    def rested(self, name: str = "s") -> JsonObject:
        stack: JsonObject = self.ask("DescribeStacks", StackName=name)["Stacks"][0]
        assert self.host.wait(stack["StackId"], 60)
        described: JsonObject = self.ask("DescribeStacks", StackName=name)["Stacks"][0]
        return described

    def events(self, name: str = "s") -> list[tuple[str, str]]:
        """What happened, in order: what it happened to, and its status."""
        found = self.ask("DescribeStackEvents", StackName=name)["StackEvents"]
        return [(each["LogicalResourceId"], each["ResourceStatus"]) for each in reversed(found)]

    def reason(self, logical_id: str, status: str, name: str = "s") -> str:
        for each in self.ask("DescribeStackEvents", StackName=name)["StackEvents"]:
            if (each["LogicalResourceId"], each["ResourceStatus"]) == (logical_id, status):
                return str(each.get("ResourceStatusReason", ""))
        raise AssertionError(f"{logical_id} was never {status}")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def stacks(world: World) -> Iterator[Stacks]:
    made = Stacks(world)
    yield made
    made.leaving.set()
    made.host.close()
