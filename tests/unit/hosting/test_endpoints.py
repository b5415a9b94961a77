"""An endpoint's life: created, invoked, updated, scaled, dying, restarted, deleted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.hosting.endpoint import Endpoint, EndpointStatus
from mlops.hosting.plan import ModelData, ServerlessPlan
from mlops.ports import JobOutcome
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply

from .conftest import ARN, SOON, House, plan, until, variant, who

# --- creating ------------------------------------------------------------------------------------


def test_an_endpoint_comes_into_service_and_answers(house: House) -> None:
    endpoint = house.create()
    assert endpoint.status is EndpointStatus.CREATING
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert endpoint.failure_reason is None
    assert house.invoke(b"1,2") == b"AllTraffic1,2"


def test_it_is_in_service_soon_after_the_first_ping_is_answered(house: House) -> None:
    ready = threading.Event()
    house.next_gateway(FakeRuntime(FakeModelServer(who, ready=ready)))
    endpoint = house.create()
    time.sleep(0.3)
    assert endpoint.status is EndpointStatus.CREATING
    began = time.monotonic()
    ready.set()
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert time.monotonic() - began < 0.3


def test_what_a_server_finds(house: House) -> None:
    house.serving(variant(environment={"A": "1", "AWS_REGION": "mine"}))
    (spec,) = house.runtime.served
    assert (spec.arguments, spec.command, spec.port) == (("serve",), (), 8080)
    assert spec.environment["A"] == "1"
    assert spec.environment["AWS_REGION"] == "mine"
    assert spec.environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert spec.memory_megabytes is None
    assert (spec.folder / "model").is_dir()


def test_an_image_that_is_missing_fails_with_one_clear_message(house: House) -> None:
    house.next_gateway(FakeRuntime(images=["other"]))
    endpoint = house.create()
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.FAILED
    assert str(endpoint.failure_reason).startswith("There is no image image")
    assert house.servers() == 0


def test_a_server_that_dies_at_the_start_fails_with_its_last_words(house: House) -> None:
    def die(container: FakeContainer) -> int:
        container.print("serve: reading /opt/ml/model")
        container.print("serve: there is no SavedModel in /opt/ml/model")
        return 1

    house.next_gateway(FakeRuntime(die))
    endpoint = house.create()
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.FAILED
    reason = str(endpoint.failure_reason)
    assert reason.startswith(
        "The primary container for production variant AllTraffic did not pass the ping health "
        "check: it ended with exit code 1. Its log ends:\nserve: reading /opt/ml/model\n"
        "serve: there is no SavedModel in /opt/ml/model\nThe whole log: "
    )
    with pytest.raises(ServiceError, match="is Failed: it takes no requests") as caught:
        house.invoke()
    assert caught.value.code == "ValidationError"


@pytest.mark.parametrize(
    ("ping", "said"), [(lambda _: 503, "503"), (lambda _: time.sleep(30) or 200, "no answer came")]
)
def test_a_server_that_never_says_yes_fails_in_time(
    house: House, ping: Callable[[FakeContainer], int], said: str
) -> None:
    house.next_gateway(FakeRuntime(FakeModelServer(ping=ping, log="loading\n")))
    began = time.monotonic()
    endpoint = house.create(variant(startup_seconds=1))
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.FAILED
    assert 1 <= time.monotonic() - began < 6
    reason = str(endpoint.failure_reason)
    assert "was not answered with 200 within 1 s (ContainerStartupHealthCheckTimeout" in reason
    assert said in reason
    assert "loading" in reason
    assert house.servers() == 0


def test_model_data_that_is_missing_fails_it(house: House) -> None:
    endpoint = house.create(variant(data=ModelData("s3://bucket/model.tar.gz", "archive")))
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.FAILED
    assert "Could not find model data at s3://bucket/model.tar.gz" in str(endpoint.failure_reason)


def test_a_reason_has_the_length_that_the_model_allows(house: House) -> None:
    def die(container: FakeContainer) -> int:
        container.print("x" * 5000)
        return 1

    house.next_gateway(FakeRuntime(die))
    endpoint = house.create()
    endpoint.wait(SOON)
    assert len(str(endpoint.failure_reason)) <= 1024


def test_one_name_is_one_endpoint(house: House) -> None:
    house.serving()
    with pytest.raises(ServiceError, match=f'Cannot create already existing endpoint "{ARN}"'):
        house.create()


def test_too_many_servers_are_refused(house: House) -> None:
    with pytest.raises(ServiceError, match="asks for 9 instances") as caught:
        house.create(variant(count=9))
    assert caught.value.code == "ResourceLimitExceeded"
    assert house.manager.list() == []


# --- variants and servers ------------------------------------------------------------------------


def test_requests_go_by_the_weights(house: House) -> None:
    house.serving(variant("a", weight=3.0), variant("b", weight=1.0), variant("c", weight=0.0))
    assert Counter(house.invoke() for _ in range(100)) == {b"a": 75, b"b": 25}
    assert house.invoke(target_variant="c") == b"c"
    with pytest.raises(ServiceError, match="Variant d not found for request") as caught:
        house.invoke(target_variant="d")
    assert caught.value.code == "ValidationError"


def test_several_instances_are_several_servers_that_share_the_load(house: House) -> None:
    gate, seen = threading.Event(), Counter[str]()

    def busy(container: FakeContainer, _: bytes, __: Any) -> Reply:
        seen[container.job.name] += 1
        gate.wait(SOON)
        return Reply()

    house.next_gateway(FakeRuntime(FakeModelServer(busy)))
    house.serving(variant(count=3))
    assert house.servers() == 3
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(house.invoke) for _ in range(6)]
        until(lambda: sum(seen.values()) == 6)
        gate.set()
        for call in calls:
            call.result(SOON)
    assert sorted(seen.values()) == [2, 2, 2]


def test_a_serverless_variant_has_its_memory_and_its_concurrency(house: House) -> None:
    gate, entered = threading.Event(), threading.Semaphore(0)

    def busy(_: FakeContainer, __: bytes, ___: Any) -> Reply:
        entered.release()
        gate.wait(SOON)
        return Reply(b"done")

    house.next_gateway(FakeRuntime(FakeModelServer(busy)))
    serverless = ServerlessPlan(memory_megabytes=2048, maximum_concurrency=2)
    house.serving(variant(serverless=serverless))
    assert house.runtime.served[-1].memory_megabytes == 2048
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(house.invoke) for _ in range(2)]
        for _ in calls:
            assert entered.acquire(timeout=SOON)
        with pytest.raises(ServiceError, match="2 concurrent invocations") as caught:
            house.invoke()
        assert (caught.value.code, caught.value.status) == ("ThrottlingException", 400)
        gate.set()
        assert [call.result(SOON) for call in calls] == [b"done"] * 2
    assert house.invoke() == b"done"


# --- updating ------------------------------------------------------------------------------------


class Load:
    """Clients that call without a pause, and what they saw."""

    def __init__(self, house: House, clients: int = 4) -> None:
        self._house = house
        self._ending = threading.Event()
        self.answers: Counter[bytes] = Counter()
        self.errors: list[Exception] = []
        self._threads = [threading.Thread(target=self._call) for _ in range(clients)]

    def _call(self) -> None:
        while not self._ending.is_set():
            try:
                self.answers[self._house.invoke()] += 1
            except Exception as error:  # noqa: BLE001 - each is a finding
                self.errors.append(error)

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(SOON)


def test_an_update_fails_no_request(house: House) -> None:
    endpoint = house.serving(variant(environment={"WHO": "old"}))
    with Load(house) as load:
        until(lambda: load.answers[b"old"] > 20)
        for number in range(3):
            new = f"new{number}"
            house.manager.update("e", ARN, plan(variant(environment={"WHO": new})), None)
            assert endpoint.status is EndpointStatus.UPDATING
            endpoint.wait(SOON)
            until(lambda: load.answers[new.encode()] > 20)  # noqa: B023 - waited for here
    assert load.errors == []
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert house.invoke() == b"new2"
    assert house.servers() == 1


def test_the_old_servers_end_what_they_have_begun(house: House) -> None:
    gate, entered = threading.Event(), threading.Event()

    def slow(_: FakeContainer, body: bytes, __: Any) -> Reply:
        if body == b"slow":
            entered.set()
            gate.wait(SOON)
        return Reply(b"whole")

    house.next_gateway(FakeRuntime(FakeModelServer(slow)))
    endpoint = house.serving()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(house.invoke, b"slow")
        assert entered.wait(SOON)
        house.manager.update("e", ARN, plan(config="c2"), None)
        until(lambda: endpoint.plan.config_name == "c2")
        assert house.invoke() == b"whole"
        assert house.servers() == 2
        gate.set()
        assert call.result(SOON) == b"whole"
    endpoint.wait(SOON)
    assert house.servers() == 1


def test_a_failed_update_leaves_what_served(house: House) -> None:
    def by_image(container: FakeContainer) -> int:
        if container.job.image == "bad":
            container.print("cannot load")
            return 1
        return FakeModelServer(who)(container)

    house.next_gateway(FakeRuntime(by_image))
    endpoint = house.serving(variant(environment={"WHO": "old"}))
    with Load(house) as load:
        house.manager.update("e", ARN, plan(variant(image="bad"), config="worse"), None)
        endpoint.wait(SOON)
        until(lambda: load.answers[b"old"] > 20)
    assert load.errors == []
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert endpoint.plan.config_name == "c"
    assert endpoint.pending is None
    reason = str(endpoint.failure_reason)
    assert reason.startswith("The update to worse failed, c serves on: ")
    assert "cannot load" in reason
    assert house.servers() == 1


def test_one_change_at_a_time(house: House) -> None:
    ready = threading.Event()
    house.next_gateway(FakeRuntime(FakeModelServer(who, ready=ready)))
    house.create()
    with pytest.raises(ServiceError, match="Cannot update in-progress endpoint"):
        house.manager.update("e", ARN, plan(), None)
    ready.set()


def test_a_failed_endpoint_can_only_be_deleted(house: House) -> None:
    house.next_gateway(FakeRuntime(lambda _: 1))
    house.create().wait(SOON)
    with pytest.raises(ServiceError, match="Cannot update failed endpoint"):
        house.manager.update("e", ARN, plan(), None)
    house.manager.delete("e", ARN)
    assert house.manager.list() == []


# --- scaling -------------------------------------------------------------------------------------


def test_weights_change_at_once(house: House) -> None:
    endpoint = house.serving(variant("a"), variant("b"))
    house.manager.scale("e", ARN, plan(variant("a", weight=0.0), variant("b", weight=1.0)))
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert {house.invoke() for _ in range(10)} == {b"b"}
    assert len(house.runtime.served) == 2  # nothing was started for it


@pytest.mark.parametrize("counts", [(1, 3), (3, 1)])
def test_servers_come_and_go_with_the_count(house: House, counts: tuple[int, int]) -> None:
    before, after = counts
    endpoint = house.serving(variant(count=before))
    with Load(house) as load:
        house.manager.scale("e", ARN, plan(variant(count=after)))
        endpoint.wait(SOON)
        until(lambda: load.answers[b"AllTraffic"] > 20)
    assert load.errors == []
    assert house.servers() == after
    assert endpoint.plan.variants[0].count == after


def test_a_scaling_that_fails_leaves_it_as_it_was(house: House) -> None:
    fail = threading.Event()

    def first_only(container: FakeContainer) -> int:
        return 1 if fail.is_set() else FakeModelServer(who)(container)

    house.next_gateway(FakeRuntime(first_only))
    endpoint = house.serving(variant(weight=1.0))
    fail.set()
    house.manager.scale("e", ARN, plan(variant(count=2, weight=5.0)))
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert str(endpoint.failure_reason).startswith("The change failed, the endpoint is as it was:")
    assert (endpoint.plan.variants[0].count, endpoint.plan.variants[0].weight) == (1, 1.0)
    assert house.invoke() == b"AllTraffic"


# --- dying ---------------------------------------------------------------------------------------


def test_a_server_that_dies_is_started_again(house: House, server: FakeModelServer) -> None:
    endpoint = house.serving()
    server.kill.set()
    until(lambda: endpoint.status is EndpointStatus.OUT_OF_SERVICE)
    assert "stopped serving: it ended with exit code 3" in str(endpoint.failure_reason)
    assert "It is started again in" in str(endpoint.failure_reason)
    with pytest.raises(ServiceError) as caught:
        house.invoke()
    assert (caught.value.code, caught.value.status) == ("ServiceUnavailable", 503)
    server.kill.clear()
    until(lambda: endpoint.status is EndpointStatus.IN_SERVICE)
    assert endpoint.failure_reason is None
    assert house.invoke() == b"AllTraffic"
    assert endpoint.fleet is not None
    assert endpoint.fleet.restarts("AllTraffic") >= 1
    assert house.servers() == 1


def test_the_other_servers_answer_meanwhile(house: House) -> None:
    fall = threading.Event()

    def one_falls(container: FakeContainer) -> int:
        server = FakeModelServer(who)
        if container.job.environment["WHO"] == "a":
            if fall.is_set():
                return 3
            server.kill = fall
        return server(container)

    house.next_gateway(FakeRuntime(one_falls))
    endpoint = house.serving(variant("a"), variant("b"))
    fall.set()
    fleet = endpoint.fleet
    assert fleet is not None
    until(lambda: fleet.serving_count("a") == 0)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert {house.invoke() for _ in range(10)} == {b"b"}
    assert fleet.problems("a")
    fall.clear()
    until(lambda: fleet.serving_count("a") == 1)


def test_a_server_that_keeps_dying_is_given_up(house: House, server: FakeModelServer) -> None:
    endpoint = house.serving()
    server.kill.set()  # the pauses double from 0.01 s: some 3 s in all
    fleet = endpoint.fleet
    assert fleet is not None
    until(lambda: fleet.restarts("AllTraffic") == 8)
    until(lambda: "exit code 3" in told(endpoint) and "started again" not in told(endpoint))
    assert endpoint.status is EndpointStatus.OUT_OF_SERVICE
    assert house.servers() == 0
    server.kill.clear()
    house.manager.update("e", ARN, plan(), None)  # which is a way back
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.IN_SERVICE


def told(endpoint: Endpoint) -> str:
    return str(endpoint.failure_reason)


def test_out_of_memory_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlops.runtimes import fake

    def out(status: int, **more: Any) -> JobOutcome:
        return JobOutcome(status, out_of_memory=True, **more)

    monkeypatch.setattr(fake, "JobOutcome", out)
    house.next_gateway(FakeRuntime(lambda _: 137))
    serverless = ServerlessPlan(memory_megabytes=1024, maximum_concurrency=1)
    endpoint = house.create(variant(serverless=serverless))
    endpoint.wait(SOON)
    assert "it ran out of memory (MemorySizeInMB 1024)" in str(endpoint.failure_reason)


# --- deleting ------------------------------------------------------------------------------------


def test_nothing_is_left_of_a_deleted_endpoint(house: House) -> None:
    endpoint = house.serving(variant(count=2))
    folder = endpoint.folder
    assert folder.is_dir()
    house.manager.delete("e", ARN)
    assert house.servers() == 0
    assert not folder.exists()
    assert house.state.list_resources("endpoint") == []
    with pytest.raises(
        ServiceError, match="Endpoint e of account 000000000000 not found"
    ) as caught:
        house.invoke()
    assert caught.value.code == "ValidationError"
    with pytest.raises(ServiceError, match=f'Could not find endpoint "{ARN}"'):
        house.manager.delete("e", ARN)
    house.serving()


def test_an_endpoint_can_be_deleted_while_it_starts(house: House) -> None:
    house.next_gateway(FakeRuntime(FakeModelServer(ready=threading.Event())))
    house.create()
    until(lambda: house.servers() == 1)
    house.manager.delete("e", ARN)
    assert house.servers() == 0
    assert house.state.list_resources("endpoint") == []


def test_an_endpoint_can_be_deleted_while_it_is_updated(house: House) -> None:
    never = threading.Event()

    def by_image(container: FakeContainer) -> int:
        ready = never if container.job.image == "slow" else None
        return FakeModelServer(who, ready=ready)(container)

    house.next_gateway(FakeRuntime(by_image))
    house.serving()
    house.manager.update("e", ARN, plan(variant(image="slow")), None)
    until(lambda: house.servers() == 2)
    house.manager.delete("e", ARN)
    assert house.servers() == 0
    assert house.state.list_resources("endpoint") == []


def test_many_endpoints_side_by_side(house: House) -> None:
    names = [f"e{number}" for number in range(5)]
    for name in names:
        house.create(variant(environment={"WHO": name}), name=name)
    for endpoint in house.manager.list():
        endpoint.wait(SOON)
    assert [house.invoke(name=name).decode() for name in names] == names
    assert house.manager.up() == 5
    for name in names:
        house.manager.delete(name, ARN)
    assert house.servers() == 0
    assert house.manager.up() == 0
