"""What a Lambda function costs here: the image, the first invocation, the warm ones.

    python -m benchmarks functions

For each runtime there is on this machine: the seconds from the start of a worker to the end of its
first invocation, of a handler that does nothing and of the endpoint test (which refuses its empty
event); then warm invocations of the first, through the manager and through the gateway by a kept
HTTP connection and by boto3, less the handler's own time (nothing to speak of). The bare Runtime
API is the yardstick: a thread of this process in the runtime's place. The goals: an image under
260 MB, a first invocation within 0.5 s of the start, under 2 ms of overhead for a warm one.
"""

from __future__ import annotations

import http.client
import io
import json
import statistics
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops.app import compose_gateway
from mlops.errors import MlopsError
from mlops.functions.exchange import Exchange, Invocation
from mlops.functions.http import EventLoop
from mlops.functions.runtime_api import RuntimeApi
from mlops.gateway.server import GatewayThread
from mlops.settings import Settings

COLD_ROUNDS = 5
WARM_ROUNDS = 500
ROLE = "arn:aws:iam::000000000000:role/mlops-execution"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-endpoint-test:latest"
HANDLER = "def handler(event, context): return event"


def main() -> None:
    image_size()
    show("the Runtime API alone", bare_runtime_api())
    for runtime in ("process", "docker"):
        try:
            measure(runtime)
        except MlopsError as error:
            print(f"  {runtime}: not here: {error.what}")


def show(what: str, seconds: list[float]) -> None:
    milliseconds = sorted(each * 1000 for each in seconds)
    p95 = milliseconds[int(len(milliseconds) * 0.95)]
    print(
        f"  {what:48} p50 {statistics.median(milliseconds):8.2f} ms   p95 {p95:8.2f} ms",
        flush=True,
    )


def timed(work: Callable[[], object], rounds: int) -> list[float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return times


def image_size() -> None:
    from mlops.images import image_status

    try:
        found = {status.folder: status.size for status in image_status(Settings())}
    except MlopsError as error:
        print(f"  the image: not here: {error.what}")
        return
    print(f"  the image mlops-endpoint-test: {found['endpoint_test'] / 1e6:.0f} MB")


def bare_runtime_api() -> list[float]:
    loop, exchange = EventLoop(), Exchange()
    api = RuntimeApi(loop, exchange, "127.0.0.1", "127.0.0.1")

    def serve() -> None:
        base = "/2018-06-01/runtime/invocation"
        connection = http.client.HTTPConnection(api.address)
        while True:
            connection.request("GET", f"{base}/next")
            answer = connection.getresponse()
            event = answer.read()
            if event == b"end":
                return
            request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
            connection.request("POST", f"{base}/{request_id}/response", event)
            connection.getresponse().read()

    runtime = threading.Thread(target=serve, daemon=True)
    runtime.start()

    def invoke(payload: bytes = b"{}") -> None:
        exchange.begin(Invocation("r", payload, "arn", 1, "Root=1"))
        if payload != b"end":
            exchange.wait_for_answer(time.monotonic() + 5)

    times = timed(invoke, WARM_ROUNDS)
    invoke(b"end")
    runtime.join()
    loop.close()
    return times


def measure(runtime: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(store=Path(folder) / "store", runtime=runtime)
        with GatewayThread(compose_gateway(settings)) as url:
            client = lambda_client(url, settings)
            client.create_function(
                FunctionName="nothing",
                Role=ROLE,
                Runtime="python3.12",
                Handler="index.handler",
                Code={"ZipFile": zipped()},
            )
            client.create_function(
                FunctionName="test",
                Role=ROLE,
                PackageType="Image",
                Code={"ImageUri": IMAGE},
                MemorySize=512,
            )
            for name in ("nothing", "test"):
                show(f"{runtime}: first invocation, {name}", cold(client, name))
            connection = http.client.HTTPConnection(urlsplit(url).netloc)
            show(f"{runtime}: warm, over HTTP", timed(lambda: plain(connection), WARM_ROUNDS))
            connection.close()
            invoke = lambda: client.invoke(FunctionName="nothing", Payload=b"{}")["Payload"].read()  # noqa: E731 - one line
            show(f"{runtime}: warm, by boto3", timed(invoke, WARM_ROUNDS))


def cold(client: Any, name: str) -> list[float]:
    times = []
    for number in range(COLD_ROUNDS):
        # A change ends the worker there is, so that the next invocation starts one.
        client.update_function_configuration(FunctionName=name, Description=str(number))
        times += timed(lambda: client.invoke(FunctionName=name, Payload=b"{}")["Payload"].read(), 1)
    return times


def plain(connection: http.client.HTTPConnection) -> None:
    connection.request("POST", "/2015-03-31/functions/nothing/invocations", b"{}")
    answer = connection.getresponse()
    assert json.load(answer) == {}


def lambda_client(url: str, settings: Settings) -> Any:
    from mlops.aws import gateway_session

    return gateway_session(url, settings.region).client("lambda")


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.py", HANDLER)
    return content.getvalue()
