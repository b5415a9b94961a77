"""A real server with the S3 face, and boto3 in front of it."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cheroot.wsgi import Server

from mlops.gateway.s3 import S3Face
from mlops.gateway.s3.headers import RawHeadersGateway
from mlops.stores.objects import FileObjectStore

BUCKET = "bucket"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class S3Server:
    port: int
    root: Path
    store: FileObjectStore

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **config: Any) -> Any:
        config = {"s3": {"addressing_style": "path"}, "retries": {"max_attempts": 0}} | config
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(**config),
        )

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Answer:
        """A request as it stands here, byte for byte, by no S3 client."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, target, body, headers or {}, encode_chunked=chunked)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()


@contextmanager
def serving(root: Path) -> Iterator[S3Server]:
    store = FileObjectStore(root)
    server = Server(("127.0.0.1", 0), S3Face(store), numthreads=8, shutdown_timeout=1)
    server.gateway = RawHeadersGateway
    server.expiration_interval = 0.02  # how long stopping takes
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield S3Server(server.bind_addr[1], root, store)
    finally:
        server.stop()
        thread.join()
        store.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    with serving(tmp_path / "objects") as made:
        made.store.create_bucket(BUCKET)
        yield made


@pytest.fixture
def s3(server: S3Server) -> Any:
    return server.client()
