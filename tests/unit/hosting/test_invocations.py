"""InvokeEndpoint between a client's request and a container: what is passed on, and the errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.hosting import invocation
from mlops.hosting.invocation import Invocation, ModelError
from mlops.hosting.plan import ServerlessPlan
from mlops.hosting.statistics import InvocationStatistics
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply

from .conftest import House, variant


def headers(_: FakeContainer, __: bytes, given: Mapping[str, str]) -> Reply:
    return Reply(json.dumps({name.lower(): value for name, value in given.items()}).encode())


def replying(house: House, reply: Reply, **more: Any) -> None:
    """Have an endpoint whose every answer is `reply`."""
    house.next_gateway(FakeRuntime(FakeModelServer(lambda *_: reply)))
    house.serving(variant(**more))


def test_what_a_container_is_told(house: House) -> None:
    house.next_gateway(FakeRuntime(FakeModelServer(headers)))
    house.serving()
    given = json.loads(
        house.invoke(
            b"1,2",
            content_type="text/csv",
            accept="application/json",
            custom_attributes="trace=1",
            inference_id="i-1",
        )
    )
    assert given["content-type"] == "text/csv"
    assert given["accept"] == "application/json"
    assert given["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    assert given["x-amzn-sagemaker-inference-id"] == "i-1"
    assert given["content-length"] == "3"
    bare = json.loads(house.invoke())
    assert "content-type" not in bare
    assert bare["x-amzn-sagemaker-inference-id"]  # one is made where none is given


def test_what_comes_back(house: House) -> None:
    reply = Reply(
        b"0.5",
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "X-Amzn-SageMaker-Custom-Attributes": "trace=2",
            "X-Secret": "stays here",
        },
    )
    replying(house, reply)
    answer = house.manager.invoke("e", Invocation(b""))
    assert b"".join(answer.body) == b"0.5"
    assert answer.length == 3
    assert answer.members == {
        "ContentType": "text/csv; charset=utf-8",
        "CustomAttributes": "trace=2",
        "InvokedProductionVariant": "AllTraffic",
    }


@pytest.mark.parametrize(("status", "side"), [(400, "client"), (415, "client"), (500, "server")])
def test_a_containers_error_is_a_model_error(house: House, status: int, side: str) -> None:
    replying(house, Reply("row 3, column carat: größer".encode(), status=status))
    with pytest.raises(ModelError) as caught:
        house.invoke()
    error = caught.value
    assert (error.code, error.status) == ("ModelError", 424)
    assert error.what.startswith(
        f'Received {side} error ({status}) from primary with message "row 3, column carat: größer".'
    )
    assert error.members == {
        "OriginalStatusCode": status,
        "OriginalMessage": "row 3, column carat: größer",
        "LogStreamArn": "arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/Endpoints/e",
    }


def test_a_long_error_text_is_cut(house: House) -> None:
    replying(house, Reply(b"x" * 100_000, status=500))
    with pytest.raises(ModelError) as caught:
        house.invoke()
    assert len(caught.value.members["OriginalMessage"]) == 1024
    assert len(caught.value.what) < 2048  # botocore sagemaker-runtime Message


def test_a_container_that_takes_too_long(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invocation, "ANSWER_SECONDS", 0.2)
    gate = threading.Event()
    house.next_gateway(
        FakeRuntime(FakeModelServer(lambda *_: (gate.wait(5) and Reply()) or Reply()))
    )
    house.serving()
    with pytest.raises(ModelError, match="Your invocation timed out while waiting") as caught:
        house.invoke()
    assert caught.value.members["OriginalStatusCode"] == 0
    gate.set()


@pytest.mark.parametrize(
    ("more", "limit"),
    [
        ({}, 6_291_456),
        (
            {"serverless": ServerlessPlan(memory_megabytes=1024, maximum_concurrency=1)},
            4 * 1024 * 1024,
        ),
    ],
)
def test_payloads_have_a_limit_both_ways(house: House, more: dict[str, Any], limit: int) -> None:
    def much(_: FakeContainer, body: bytes, __: Any) -> Reply:
        return Reply(b"x" * (limit + 1) if body == b"much" else b"y" * len(body))

    house.next_gateway(FakeRuntime(FakeModelServer(much)))
    house.serving(variant(**more))
    assert len(house.invoke(b"x" * limit)) == limit
    with pytest.raises(ServiceError, match=f"less than or equal to {limit}") as caught:
        house.invoke(b"x" * (limit + 1))
    assert caught.value.code == "ValidationError"
    with pytest.raises(ModelError, match=f"more than {limit} bytes"):
        house.invoke(b"much")
    assert house.invoke(b"1") == b"y"  # nothing is held by those that failed


def test_an_answer_that_is_not_read_gives_its_place_back(house: House) -> None:
    serverless = ServerlessPlan(memory_megabytes=1024, maximum_concurrency=1)
    replying(house, Reply(b"x" * 100_000), serverless=serverless)
    answer = house.manager.invoke("e", Invocation(b""))
    with pytest.raises(ServiceError, match="concurrent invocations"):
        house.invoke()
    answer.body.close()
    answer.body.close()
    assert len(house.invoke()) == 100_000


def test_statistics_are_counted(house: House) -> None:
    def by_body(_: FakeContainer, body: bytes, __: Any) -> Reply:
        return Reply(status=int(body))

    house.next_gateway(FakeRuntime(FakeModelServer(by_body)))
    endpoint = house.serving()
    for body in (b"200", b"200", b"400", b"503"):
        try:
            house.invoke(body)
        except ModelError:
            continue
    assert endpoint.fleet is not None
    counted = endpoint.fleet.statistics("AllTraffic").document()
    latency = counted.pop("ModelLatency")
    assert counted == {"Invocations": 4, "Invocation4XXErrors": 1, "Invocation5XXErrors": 1}
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] < 10_000_000


def test_percentiles_are_of_the_nearest_rank() -> None:
    statistics = InvocationStatistics()
    for number in range(1, 101):
        statistics.count(200, number / 1e6)
    latency = statistics.document()["ModelLatency"]
    assert latency.pop("Average") in (50, 51)
    assert latency == {"p50": 50, "p95": 95, "p99": 99}
    assert InvocationStatistics().document() == {
        "Invocations": 0,
        "Invocation4XXErrors": 0,
        "Invocation5XXErrors": 0,
    }


def test_many_at_once(house: House) -> None:
    house.serving()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: house.invoke(str(n).encode()), range(200)))
    assert answers == [f"AllTraffic{number}".encode() for number in range(200)]
