"""What the next gateway makes of the endpoints that the last one had."""

from __future__ import annotations

import threading
from pathlib import Path

from mlops.hosting.endpoint import EndpointStatus
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer

from .conftest import ARN, SOON, House, plan, until, variant, who


def test_servers_go_on_and_are_watched_again(house: House, server: FakeModelServer) -> None:
    house.serving(variant("a", count=2), variant("b"))
    house.manager.close()
    assert house.servers() == 3
    endpoint = house.next_gateway().get("e", ARN)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert house.invoke(target_variant="b") == b"b"
    assert len(house.runtime.served) == 3  # none was started for it
    server.kill.set()
    until(lambda: endpoint.status is EndpointStatus.OUT_OF_SERVICE)
    server.kill.clear()
    until(lambda: endpoint.status is EndpointStatus.IN_SERVICE)


def test_servers_that_are_gone_are_started_anew(house: House) -> None:
    house.serving()
    house.manager.close()
    house.runtime.remove_leftovers({})
    endpoint = house.next_gateway().get("e", ARN)
    until(lambda: endpoint.status is EndpointStatus.IN_SERVICE)
    assert house.invoke() == b"AllTraffic"
    assert len(house.runtime.served) == 2


def test_servers_that_cannot_be_had_any_more_are_told_as_gone(house: House) -> None:
    house.serving()
    house.manager.close()
    house.runtime.remove_leftovers({})
    endpoint = house.next_gateway(FakeRuntime(images=["other"])).get("e", ARN)
    until(lambda: endpoint.failure_reason is not None)
    assert endpoint.status is EndpointStatus.OUT_OF_SERVICE
    assert "There is no image image" in str(endpoint.failure_reason)


def test_a_creation_goes_on(house: House) -> None:
    ready = threading.Event()
    house.next_gateway(FakeRuntime(FakeModelServer(who, ready=ready)))
    house.create()
    until(lambda: house.servers() == 1)
    house.manager.close()
    endpoint = house.next_gateway().get("e", ARN)
    assert endpoint.status is EndpointStatus.CREATING
    ready.set()
    endpoint.wait(SOON)
    assert endpoint.status is EndpointStatus.IN_SERVICE
    assert len(house.runtime.served) == 1


def test_an_update_is_broken_off(house: House) -> None:
    never = threading.Event()

    def by_image(container: FakeContainer) -> int:
        ready = never if container.job.image == "slow" else None
        return FakeModelServer(who, ready=ready)(container)

    house.next_gateway(FakeRuntime(by_image))
    house.serving(variant(environment={"WHO": "old"}))
    house.manager.update("e", ARN, plan(variant(image="slow"), config="new"), None)
    until(lambda: house.servers() == 2)
    house.manager.close()
    endpoint = house.next_gateway().get("e", ARN)
    until(lambda: endpoint.status is EndpointStatus.IN_SERVICE)
    assert endpoint.plan.config_name == "c"
    assert endpoint.pending is None
    assert "The update was broken off" in str(endpoint.failure_reason)
    assert house.invoke() == b"old"
    until(lambda: house.servers() == 1)


def test_a_failed_endpoint_stays_failed(house: House) -> None:
    house.next_gateway(FakeRuntime(lambda _: 1))
    house.create().wait(SOON)
    house.manager.close()
    endpoint = house.next_gateway().get("e", ARN)
    assert endpoint.status is EndpointStatus.FAILED
    assert "did not pass the ping health check" in str(endpoint.failure_reason)
    assert house.servers() == 0
    assert house.manager.up() == 0


def test_a_server_of_no_endpoint_is_ended(house: House) -> None:
    house.serving()
    house.manager.close()
    house.state.delete_resource("endpoint", "e")
    house.next_gateway()
    until(lambda: house.servers() == 0)


def test_another_runtime_takes_over(house: House) -> None:
    house.serving()
    house.manager.close()
    former = house.runtime
    house.others["fake"] = former
    new = FakeRuntime(FakeModelServer(who))
    new.name = "other"
    endpoint = house.next_gateway(new).get("e", ARN)
    until(lambda: endpoint.status is EndpointStatus.IN_SERVICE)
    assert former.find_servers({}) == []
    assert house.invoke() == b"AllTraffic"
    assert endpoint.record.document["runtime"] == "other"


def test_a_gateway_whose_folder_is_gone_takes_its_servers_with_it(
    house: House, tmp_path: Path
) -> None:
    house.serving()
    (tmp_path / "state.db").rename(tmp_path / "elsewhere.db")
    house.manager.close()
    assert house.servers() == 0
