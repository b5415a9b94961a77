"""kill -9 in the midst of pushes: what was acknowledged is there, the rest is no trouble."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import boto3
import requests

from mlops.gateway.process import ensure_gateway, stop_gateway
from mlops.services.ecr.manifest import OCI_MANIFEST
from mlops.settings import Settings

NAME = "app"
CONFIG = b"{}"
PUSHERS = 4


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def logged_in(url: str) -> requests.Session:
    ecr = boto3.Session("any", "thing", region_name="us-east-1").client("ecr", endpoint_url=url)
    if not ecr.describe_repositories()["repositories"]:
        ecr.create_repository(repositoryName=NAME)
    (data,) = ecr.get_authorization_token()["authorizationData"]
    session = requests.Session()
    session.headers["Authorization"] = f"Basic {data['authorizationToken']}"
    return session


def push(session: requests.Session, url: str, tag: str) -> str:
    """An image of one layer of its own; its digest, once it is acknowledged."""
    layer = tag.encode() * 50_000
    for data in (CONFIG, layer):
        place = f"{url}/v2/{NAME}/blobs/uploads/?digest={digest_of(data)}"
        session.post(place, data=data, timeout=60).raise_for_status()
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": digest_of(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": digest_of(layer), "size": len(layer)}],
    }
    answer = session.put(
        f"{url}/v2/{NAME}/manifests/{tag}",
        data=json.dumps(manifest).encode(),
        headers={"Content-Type": OCI_MANIFEST},
        timeout=60,
    )
    answer.raise_for_status()
    return answer.headers["Docker-Content-Digest"]


def test_every_acknowledged_image_survives(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store", runtime="process")
    first = ensure_gateway(settings)
    logged_in(first.url)
    acknowledged: dict[str, str] = {}

    def work(worker: int) -> None:
        session = logged_in(first.url)
        for number in range(10_000):
            tag = f"v{worker}-{number}"
            try:
                acknowledged[tag] = push(session, first.url, tag)
            except requests.ConnectionError:
                return

    workers = [threading.Thread(target=work, args=(number,)) for number in range(PUSHERS)]
    for worker in workers:
        worker.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(first.pid, signal.SIGKILL)
    for worker in workers:
        worker.join()
    second = ensure_gateway(settings)
    try:
        session = logged_in(second.url)
        for tag, digest in acknowledged.items():
            answer = session.get(f"{second.url}/v2/{NAME}/manifests/{tag}", timeout=60)
            assert digest_of(answer.content) == digest
            for each in answer.json()["layers"]:
                place = f"{second.url}/v2/{NAME}/blobs/{each['digest']}"
                assert digest_of(session.get(place, timeout=60).content) == each["digest"]
        push(session, second.url, "after")
    finally:
        stop_gateway(settings)
