"""Endpoints: how soon one is in service, and what InvokeEndpoint adds to its server's own time.

For each runtime that this machine has:

- the time from a server's first 200 on ``/ping`` to InService, which the server notes itself;
- one request at a time, 1,000 of them, to the server and through the gateway: by a bare HTTP
  client, whose difference is what the gateway adds, and by boto3;
- an update under 200 requests a second: how many fail.

The goals: InService within 0.3 s, under 1 ms added, no failed request. The server is the tests' own
(tests/data/tiny_server), so that the figures are the gateway's and no model's.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlops.app import compose_gateway
from mlops.aws import gateway_session
from mlops.errors import EnvironmentLacks
from mlops.gateway.server import GatewayThread
from mlops.ports import SERVERS_LABEL, ContainerRuntime
from mlops.runtimes.choice import choose_runtime
from mlops.settings import ImageMapping, Settings

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "tests/data/tiny_server"
IMAGE = "mlops-benchmark-server:local"
BASE = "mlops-processing:local"
REQUESTS = 1000
ROW = b"0.23,Ideal,E,SI2,61.5,55,3.95,3.98,2.43"
RATE = 200


def main() -> None:
    for kind in ("process", "docker"):
        with tempfile.TemporaryDirectory() as folder:
            # As the setting says: from `containers/` to the server's folder.
            place = os.path.relpath(SERVER, ROOT / "containers")
            settings = Settings(
                store=Path(folder) / "store",
                runtime=kind,
                images=(ImageMapping("*", IMAGE, place),),
            )
            try:
                runtime = choose_runtime(settings)
                if kind == "docker":
                    _build(runtime)
            except EnvironmentLacks as error:
                print(f"{kind}: left out: {error.what}")
                continue
            _measure(kind, settings, runtime)
            if kind == "docker":
                _forget(runtime)


def _build(runtime: Any) -> None:
    client = runtime.engine.client
    for line in client.build(
        path=str(SERVER), tag=IMAGE, buildargs={"BASE": BASE}, rm=True, decode=True
    ):
        if "error" in line:
            raise EnvironmentLacks(f"the server's image cannot be built: {line['error']}")


def _forget(runtime: Any) -> None:
    runtime.engine.client.remove_image(IMAGE, force=True)


def _measure(kind: str, settings: Settings, runtime: ContainerRuntime) -> None:
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        session = gateway_session(url, settings.region)
        sagemaker = session.client("sagemaker")
        for config in ("blue", "green"):
            sagemaker.create_model(
                ModelName=config,
                PrimaryContainer={"Image": "any"},
                ExecutionRoleArn=settings.execution_role_arn,
            )
            sagemaker.create_endpoint_config(
                EndpointConfigName=config,
                ProductionVariants=[
                    {"VariantName": "v", "ModelName": config, "InstanceType": "ml.m5.large"}
                ],
            )
        _report_start(kind, sagemaker, runtime, settings)
        (server,) = runtime.find_servers({SERVERS_LABEL: str(settings.store)})
        _report_latency(kind, str(server.address), url, session.client("sagemaker-runtime"))
        _report_update(kind, sagemaker, url)
        sagemaker.delete_endpoint(EndpointName="e")


def _report_start(kind: str, sagemaker: Any, runtime: ContainerRuntime, settings: Settings) -> None:
    begin = time.time()
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="blue")
    while sagemaker.describe_endpoint(EndpointName="e")["EndpointStatus"] == "Creating":
        time.sleep(0.005)
    in_service = time.time()
    (log,) = (settings.store / "endpoints/e").glob("*/log.txt")
    words = [line.split() for line in log.read_text().splitlines()]
    (first_ping,) = (float(line[-1]) for line in words if line[:2] == ["first", "ping"])
    print(
        f"{kind}: InService {in_service - first_ping:.3f} s after the first 200 on /ping, "
        f"{in_service - begin:.3f} s after CreateEndpoint"
    )


def _report_latency(kind: str, address: str, url: str, client: Any) -> None:
    direct = _time(_poster(address, "/invocations"))
    through = _time(_poster(url.removeprefix("http://"), "/endpoints/e/invocations"))
    boto3 = _time(
        lambda: client.invoke_endpoint(EndpointName="e", Body=ROW, ContentType="text/csv")[
            "Body"
        ].read()
    )
    added = 1e3 * (_p(through, 50) - _p(direct, 50))
    print(
        f"{kind}: one request p50 / p95 ms: server {_shown(direct)} · gateway {_shown(through)}"
        f" · boto3 {_shown(boto3)} · the gateway adds {added:.2f}"
    )


def _poster(address: str, path: str) -> Callable[[], bytes]:
    connection = http.client.HTTPConnection(address)

    def post() -> bytes:
        connection.request("POST", path, ROW, {"Content-Type": "text/csv"})
        return connection.getresponse().read()

    return post


def _time(call: Callable[[], object]) -> list[float]:
    for _ in range(50):
        call()
    seconds = []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)


def _p(ordered: list[float], percent: int) -> float:
    return ordered[len(ordered) * percent // 100]


def _shown(seconds: list[float]) -> str:
    return f"{1e3 * _p(seconds, 50):.2f} / {1e3 * _p(seconds, 95):.2f}"


def _report_update(kind: str, sagemaker: Any, url: str) -> None:
    answered, failed = [0], [0]
    ending = threading.Event()

    def call(clients: int) -> None:
        post = _poster(url.removeprefix("http://"), "/endpoints/e/invocations")
        due = time.perf_counter()
        while not ending.is_set():
            due += clients / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                ok = post().endswith(ROW)
            except (OSError, http.client.HTTPException):
                ok = False
            (answered if ok else failed)[0] += 1

    threads = [threading.Thread(target=call, args=(4,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    begin = time.perf_counter()
    for config in ("green", "blue", "green"):
        sagemaker.update_endpoint(EndpointName="e", EndpointConfigName=config)
        while sagemaker.describe_endpoint(EndpointName="e")["EndpointStatus"] == "Updating":
            time.sleep(0.02)
    seconds = time.perf_counter() - begin
    ending.set()
    for thread in threads:
        thread.join()
    print(
        f"{kind}: 3 updates in {seconds:.1f} s under {RATE} requests/s: "
        f"{answered[0]} answered, {failed[0]} failed"
    )
