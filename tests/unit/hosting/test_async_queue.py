"""Asynchronous invocations on servers that answer, refuse, hang, die and come back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.hosting import async_carrier, async_invocation, async_queue
from mlops.hosting.async_queue import KIND
from mlops.hosting.plan import DeploymentPlan
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply

from .conftest import ARN, SOON, House, plan, until, variant, who

CONFIG = {
    "OutputConfig": {"S3OutputPath": "s3://bkt/out", "S3FailurePath": "s3://bkt/bad"},
    "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2},
}


def async_plan(*variants: Any, **client: Any) -> DeploymentPlan:
    config = {**CONFIG, **({"ClientConfig": client} if client else {})}
    return replace(plan(*variants), async_inference=config)


def answering(house: House, predict: Callable[..., Reply], *variants: Any, **client: Any) -> None:
    """An endpoint whose servers behave so."""
    house.next_gateway(FakeRuntime(FakeModelServer(predict)))
    serving(house, *variants, **client)


def serving(house: House, *variants: Any, **client: Any) -> None:
    house.objects.create_bucket("bkt")
    house.manager.create("e", ARN, async_plan(*variants, **client), None).wait(SOON)


def ask(house: House, body: bytes = b"1", **more: Any) -> str:
    """Enqueue; the name of the result."""
    made = house.manager.enqueue("e", {"EndpointName": "e", "Body": body, **more})
    return made.inference_id


def text_of(house: House, key: str) -> str | None:
    keys = {each.key for each in house.objects.list("bkt")}
    return house.objects.open("bkt", key).read().decode() if key in keys else None


def output(house: House, name: str) -> str:
    until(lambda: text_of(house, f"out/{name}.out") is not None)
    return str(text_of(house, f"out/{name}.out"))


def failure(house: House, name: str) -> str:
    until(lambda: text_of(house, f"bad/{name}-error.out") is not None)
    return str(text_of(house, f"bad/{name}-error.out"))


def test_an_answer_lands_in_s3_and_nothing_is_kept(house: House) -> None:
    serving(house)
    house.objects.put("bkt", "in", b"rows", content_type="text/csv")
    made = house.manager.enqueue("e", {"EndpointName": "e", "InputLocation": "s3://bkt/in"})
    assert output(house, made.inference_id) == "AllTrafficrows"
    assert output(house, ask(house, b"inline")) == "AllTrafficinline"
    until(lambda: not house.manager.queued())
    assert house.state.list_resources(KIND) == []
    assert list((house.settings.store / "async-payloads").iterdir()) == []
    assert house.manager.backlog("e") == {
        "ApproximateBacklogSize": 0,
        "ApproximateAgeOfOldestRequest": 0.0,
        "InvocationsProcessed": 2,
        "InvocationFailures": 0,
        "ExpiredRequests": 0,
    }
    fleet = house.manager.get("e", ARN).fleet
    assert fleet is not None
    assert fleet.statistics("AllTraffic").document()["Invocations"] == 2


def test_a_container_is_told_what_was_asked(house: House) -> None:
    heard: list[dict[str, str]] = []

    def listen(_: FakeContainer, body: bytes, headers: Any) -> Reply:
        heard.append({name: headers[name] for name in headers if name != "Host"})
        return Reply(body, headers={"Content-Type": "text/x"})

    answering(house, listen)
    told = {"ContentType": "text/csv", "Accept": "a/b", "CustomAttributes": "c", "InferenceId": "i"}
    output(house, ask(house, b"123", **told))
    house.objects.put("bkt", "in", b"4", content_type="text/stored")
    house.manager.enqueue("e", {"EndpointName": "e", "InputLocation": "s3://bkt/in"})
    until(lambda: len(heard) == 2)
    assert heard[0]["Content-Type"] == "text/csv"
    assert heard[0]["Content-Length"] == "3"
    assert heard[0]["Accept"] == "a/b"
    assert heard[0]["X-Amzn-SageMaker-Custom-Attributes"] == "c"
    assert heard[0]["X-Amzn-SageMaker-Inference-Id"] == "i"
    assert heard[1]["Content-Type"] == "text/stored"
    assert house.objects.head("bkt", "out/i.out").content_type == "text/x"


def test_a_payload_passes_in_parts_both_ways(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_carrier, "PART_BYTES", 1000)
    answering(house, lambda _, body, __: Reply(parts=[body[:10], body[10:]]))
    assert output(house, ask(house, b"x" * 99_999)) == "x" * 99_999


def test_a_containers_error_is_the_failure(house: House) -> None:
    answering(house, lambda *_: Reply(b"row 1 is bad", status=400))
    told = failure(house, ask(house))
    assert 'Received client error (400) from primary with message "row 1 is bad"' in told
    assert house.state.list_resources(KIND) == []


def test_an_input_that_is_not_there_is_the_failure(house: House) -> None:
    serving(house)
    made = house.manager.enqueue("e", {"EndpointName": "e", "InputLocation": "s3://bkt/none"})
    assert "The input cannot be read" in failure(house, made.inference_id)


def test_an_input_that_is_too_large_is_the_failure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_carrier, "MOST_PAYLOAD_BYTES", 3)
    serving(house)
    assert "has 4 bytes, 3 are allowed" in failure(house, ask(house, b"1234"))


def test_a_container_that_takes_too_long_is_the_failure(house: House) -> None:
    gate = threading.Event()
    answering(house, lambda *_: (gate.wait(SOON) and Reply()) or Reply())
    told = failure(house, ask(house, InvocationTimeoutSeconds=1))
    assert "Your invocation timed out" in told
    gate.set()


def test_a_busy_container_is_asked_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_invocation, "FIRST_PAUSE_SECONDS", 0.01)
    replies = iter([Reply(b"full", status=503), Reply(b"slow down", status=429), Reply(b"yes")])
    answering(house, lambda *_: next(replies))
    assert output(house, ask(house)) == "yes"


def test_a_container_that_stays_busy_is_the_failure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_invocation, "FIRST_PAUSE_SECONDS", 0.001)
    asked: list[bytes] = []

    def refuse(_: FakeContainer, body: bytes, __: Any) -> Reply:
        asked.append(body)
        return Reply(b"full", status=503)

    answering(house, refuse)
    assert "server error (503)" in failure(house, ask(house))
    assert len(asked) == async_invocation.MOST_BUSY_ATTEMPTS


def test_what_a_dying_server_had_is_carried_out_by_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_invocation, "FIRST_PAUSE_SECONDS", 0.01)
    first = threading.Event()

    def break_once(_: FakeContainer, body: bytes, __: Any) -> Reply:
        if not first.is_set():
            first.set()
            return Reply(parts=broken())
        return Reply(body)

    answering(house, break_once)
    assert output(house, ask(house, b"row")) == "row"


def broken() -> Any:
    yield b"half"
    raise OSError("broken")


def test_without_a_server_the_queue_waits(house: House, server: FakeModelServer) -> None:
    serving(house)
    endpoint = house.manager.get("e", ARN)
    server.kill.set()
    until(lambda: endpoint.status == "OutOfService")
    name = ask(house)
    assert house.manager.queued() == {"e": 1}
    server.kill.clear()
    assert output(house, name) == "AllTraffic1"


def test_a_server_has_no_more_at_once_than_it_may(house: House) -> None:
    gate, lock = threading.Event(), threading.Lock()
    now, most = 0, 0

    def count(_: FakeContainer, body: bytes, __: Any) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        gate.wait(SOON)
        with lock:
            now -= 1
        return Reply(body)

    answering(house, count, MaxConcurrentInvocationsPerInstance=2)
    names = [ask(house) for _ in range(6)]
    until(lambda: now == 2)
    assert house.manager.queued() == {"e": 6}
    assert house.manager.up() == 7  # an idle gateway stays for it
    gate.set()
    for name in names:
        output(house, name)
    assert most == 2


def test_one_follows_another_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is free again is seen, however close to the look at it."""
    monkeypatch.setattr(async_queue, "LOOK_SECONDS", 3600)
    serving(house, MaxConcurrentInvocationsPerInstance=1)
    for name in [ask(house) for _ in range(100)]:
        assert output(house, name) == "AllTraffic1"


def test_variants_have_their_shares(house: House) -> None:
    serving(house, variant("a", weight=3.0), variant("b", weight=1.0))
    told = [output(house, ask(house, b"")) for _ in range(8)]
    assert sorted(told) == ["a"] * 6 + ["b"] * 2


def test_an_expired_request_is_a_failure(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(async_queue, "LOOK_SECONDS", 0.01)
    gate = threading.Event()
    answering(
        house,
        lambda _, body, __: (gate.wait(SOON) and Reply(body)) or Reply(),
        MaxConcurrentInvocationsPerInstance=1,
    )
    first = ask(house)
    until(lambda: house.manager.backlog("e")["ApproximateAgeOfOldestRequest"] == 0)  # type: ignore[index]  # it has one
    late = ask(house, RequestTTLSeconds=60)
    clock = house.manager._clock
    monkeypatch.setattr(clock, "now", lambda: Later.now(), raising=False)
    assert "The request expired" in failure(house, late)
    gate.set()
    assert output(house, first) == "1"


class Later:
    """A clock that is two minutes ahead."""

    @staticmethod
    def now() -> Any:
        from mlops.clock import SystemClock

        return SystemClock().now() + timedelta(minutes=2)


def test_a_deleted_endpoint_fails_what_was_queued(house: House) -> None:
    answering(house, lambda container, *_: Reply(parts=until_it_is_killed(container)))
    names = [ask(house) for _ in range(4)]
    house.manager.delete("e", ARN)
    for name in names:
        assert failure(house, name) == "Endpoint e was deleted before the request was carried out."
    assert house.state.list_resources(KIND) == []


def until_it_is_killed(container: FakeContainer) -> Any:
    container.terminated.wait(SOON)
    yield b"half"
    raise OSError("its process has ended")


def test_the_queue_survives_an_update(house: House) -> None:
    gate = threading.Event()

    def wait(container: FakeContainer, body: bytes, headers: Any) -> Reply:
        gate.wait(SOON)
        return who(container, body, headers)

    answering(house, wait)
    names = [ask(house) for _ in range(5)]
    house.manager.update("e", ARN, async_plan(variant("other")), None)
    gate.set()
    assert all(output(house, name).endswith("1") for name in names)
    house.manager.get("e", ARN).wait(SOON)
    assert output(house, ask(house)) == "other1"


def test_the_next_gateway_goes_on(house: House) -> None:
    gate = threading.Event()
    answering(house, lambda _, body, __: (gate.wait(SOON) and Reply(body)) or Reply())
    names = [ask(house, str(number).encode()) for number in range(5)]
    until(lambda: len(house.state.list_resources(KIND)) == 5)
    lost = house.manager
    done = replace(_kept(house, names[4]), started_at=lost._clock.now())
    house.objects.put("bkt", f"out/{names[4]}.out", b"written before the end")
    house.state.put_resource(async_queue._record(done, "InProgress"))
    house.next_gateway(house.runtime)
    assert house.manager.queued() == {"e": 4}
    gate.set()
    assert [output(house, name) for name in names] == ["0", "1", "2", "3", "written before the end"]
    until(lambda: not house.manager.queued())
    lost.close()


def _kept(house: House, name: str) -> async_invocation.AsyncInvocation:
    (found,) = [each for each in house.state.list_resources(KIND) if each.name == name]
    return async_invocation.AsyncInvocation.from_document(found.document)


def test_what_belongs_to_no_endpoint_any_more_fails(house: House) -> None:
    house.objects.create_bucket("bkt")
    gone = async_invocation.plan_invocation(
        {"EndpointName": "gone", "Body": b"1"},
        async_invocation.AsyncSettings.read(CONFIG),
        id="x",
        now=house.manager._clock.now(),
    )
    house.state.put_resource(async_queue._record(gone, "Queued"))
    never = house.settings.store / "async-payloads" / "never-acknowledged"
    never.parent.mkdir()
    never.touch()
    house.next_gateway()
    assert not never.exists()
    assert "Endpoint gone was deleted" in failure(house, "x")
    assert house.state.list_resources(KIND) == []


def test_each_kind_of_endpoint_takes_its_own_requests(house: House) -> None:
    serving(house)
    with pytest.raises(ServiceError, match="it takes InvokeEndpointAsync only"):
        house.invoke()
    house.serving(name="plain")
    with pytest.raises(ServiceError, match="has no AsyncInferenceConfig"):
        house.manager.enqueue("plain", {"EndpointName": "plain", "Body": b"1"})
    with pytest.raises(ServiceError, match="not found"):
        house.manager.enqueue("none", {"EndpointName": "none", "Body": b"1"})
