"""200 clients at once that write, read and invoke, for a minute; and kill -9 in the midst of it.

The goals: no answer that is wrong, no write lost; after the kill, every acknowledged write is there
and the endpoint answers. `python -m benchmarks load` takes a minute and a half.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._mixed_load import BUCKET, content_of
from mlops.app import end_servers, stop_gateway
from mlops.aws import gateway_session
from mlops.gateway.process import ensure_gateway
from mlops.settings import ImageMapping, Settings

ROOT = Path(__file__).resolve().parents[1]
SERVER = ROOT / "tests/data/tiny_server"
CLIENTS = 200
SECONDS = 60
SECONDS_TO_THE_KILL = 10


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_in(Path(folder))
        try:
            url = ensure_gateway(settings).url
            begin_endpoint(url, settings)
            _report(run(url, CLIENTS, SECONDS))
            killed = run(url, CLIENTS, SECONDS, kill_after=SECONDS_TO_THE_KILL, settings=settings)
            lost = lost_writes(ensure_gateway(settings).url, settings, killed)
            print(
                f"kill -9 after {SECONDS_TO_THE_KILL} s: "
                f"{len(killed['acknowledged'])} objects and {len(killed['groups'])} groups "
                f"acknowledged, {len(killed['under_way'])} under way, {len(lost)} lost"
            )
            print("\n".join(lost[:10]))
        finally:
            stop_gateway(settings)
            end_servers(settings)


def settings_in(folder: Path) -> Settings:
    """Settings whose every image is the tests' own little server, as processes."""
    place = os.path.relpath(SERVER, ROOT / "containers")  # as the setting says: from containers/
    images = (ImageMapping("*", "mlops-load:local", place),)
    return Settings(store=folder / "store", runtime="process", images=images)


def begin_endpoint(url: str, settings: Settings) -> None:
    """The endpoint ``e``, in service, and the bucket."""
    session = gateway_session(url, settings.region)
    session.client("s3").create_bucket(Bucket=BUCKET)
    sagemaker = session.client("sagemaker")
    sagemaker.create_model(
        ModelName="m",
        PrimaryContainer={"Image": "any"},
        ExecutionRoleArn=settings.execution_role_arn,
    )
    variant = {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    sagemaker.get_waiter("endpoint_in_service").wait(
        EndpointName="e", WaiterConfig={"Delay": 1, "MaxAttempts": 120}
    )


def run(
    url: str,
    clients: int,
    seconds: float,
    *,
    kill_after: float | None = None,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """What the clients have seen; the gateway is killed meanwhile if asked."""
    command = [sys.executable, "-m", "benchmarks._mixed_load", url, str(clients), str(seconds)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as load:
        if kill_after is not None:
            assert settings is not None
            time.sleep(kill_after)
            os.kill(ensure_gateway(settings).pid, signal.SIGKILL)
        output, _ = load.communicate()
    assert load.returncode == 0
    seen: dict[str, Any] = json.loads(output)
    return seen


def lost_writes(url: str, settings: Settings, seen: dict[str, Any]) -> list[str]:
    """What was acknowledged and is not there, one sentence each."""
    session = gateway_session(url, settings.region)
    s3, sagemaker = session.client("s3"), session.client("sagemaker")
    lost = []
    for key, count in seen["acknowledged"].items():
        found = s3.get_object(Bucket=BUCKET, Key=key)
        there = int(found["Metadata"]["count"])
        if there not in (count, seen["under_way"].get(key)):
            lost.append(f"{key}: write {count} was acknowledged, {there} is there")
        if found["Body"].read() != content_of(key, there):
            lost.append(f"{key}: metadata and content are of different writes")
    pages = sagemaker.get_paginator("list_model_package_groups").paginate()
    groups = {
        group["ModelPackageGroupName"]
        for page in pages
        for group in page["ModelPackageGroupSummaryList"]
    }
    lost += [f"group {name} is not there" for name in seen["groups"] if name not in groups]
    answer = session.client("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"1,2")
    if not answer["Body"].read().endswith(b"1,2"):
        lost.append("the endpoint's answer is another")
    return lost


def _report(seen: dict[str, Any]) -> None:
    print(
        f"{CLIENTS} clients for {seen['seconds']} s: {seen['requests_per_second']} requests/s, "
        f"{len(seen['wrong'])} wrong answers, {seen['gone']} clients cut off, "
        f"{seen['closed']} connections closed"
    )
    for name, figures in seen["actions"].items():
        print(
            f"  {name}: {figures['count']}, p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms"
        )
    print("\n".join(seen["wrong"][:10]))
