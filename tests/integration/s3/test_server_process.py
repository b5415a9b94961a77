"""The face in a process of its own: killed while it writes, and watched while it streams."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from mlops.stores.objects import FileObjectStore

BUCKET = "bucket"
MIB = 1 << 20
_SERVE = """
import resource, sys
from pathlib import Path
from cheroot.wsgi import Server
from mlops.gateway.s3 import S3Face
from mlops.stores.objects import FileObjectStore
root, limit = Path(sys.argv[1]), int(sys.argv[2])
server = Server(("127.0.0.1", 0), S3Face(FileObjectStore(root)), numthreads=8)
server.prepare()
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
print(server.bind_addr[1], flush=True)
server.serve()
"""


@contextmanager
def serving(root: Path, file_limit: int = 0) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    command = [sys.executable, "-c", _SERVE, str(root), str(file_limit)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process
    finally:
        process.kill()
        process.communicate()


def client(port: int) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, max_pool_connections=16),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = FileObjectStore(tmp_path / "objects")
    store.create_bucket(BUCKET)
    store.close()
    return tmp_path / "objects"


def body_of(key: str, number: int) -> bytes:
    return f"{key} {number} ".encode() * (1 + number * 997 % 20_000)


def write_until_it_dies(s3: Any, name: str, acknowledged: dict[str, int]) -> None:
    """New keys, and one key again and again; what was acknowledged is noted."""
    number = 0
    while True:
        for key in (f"{name}/{number}", f"{name}/again"):
            body = body_of(key, number)
            try:
                s3.put_object(
                    Bucket=BUCKET, Key=key, Body=body, ContentType="text/x",
                    Metadata={"number": str(number)},
                )  # fmt: skip
            except (BotoCoreError, ClientError):
                return
            acknowledged[key] = number
        number += 1


def test_kill_9_loses_nothing_that_was_acknowledged(root: Path) -> None:
    acknowledged: dict[str, int] = {}
    for round_number in range(3):
        with serving(root) as (port, process):
            s3 = client(port)
            threads = [
                threading.Thread(
                    target=write_until_it_dies, args=(s3, f"{round_number}-{n}", acknowledged)
                )
                for n in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(1.0)
            process.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join()
    assert len(acknowledged) > 50
    store = FileObjectStore(root)
    found = {info.key: info for info in store.list(BUCKET)}
    assert set(acknowledged) <= set(found)
    for key, info in found.items():
        number = int(info.metadata["number"])
        assert number >= acknowledged.get(key, number)
        body = store.open(BUCKET, key).read()
        assert body == body_of(key, number)
        assert (info.etag, info.content_type) == (hashlib.md5(body).hexdigest(), "text/x")
    staging = [path for path in (root / ".meta/staging").rglob("*") if path.is_file()]
    assert [path.suffix for path in staging] == [".lock"]
    store.close()


class Zeros(io.RawIOBase):
    """A large file that needs no room."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._size - self._at
        count = left if size < 0 else min(size, left)
        self._at += count
        return bytes(count)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see memory")
def test_memory_does_not_grow_with_an_object(root: Path) -> None:
    size = 200 * MIB
    with serving(root) as (port, process):
        s3 = client(port)
        s3.put_object(Bucket=BUCKET, Key="warm", Body=b"x")
        before = peak_memory(process.pid)
        s3.put_object(Bucket=BUCKET, Key="large", Body=Zeros(size))
        config = TransferConfig(multipart_chunksize=50 * MIB, max_concurrency=2)
        s3.upload_fileobj(Zeros(size), BUCKET, "parts", Config=config)
        s3.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "parts"})
        for key in ("large", "parts", "copy"):
            chunks = s3.get_object(Bucket=BUCKET, Key=key)["Body"].iter_chunks(MIB)
            assert sum(len(chunk) for chunk in chunks) == size
        assert peak_memory(process.pid) - before < 40 * MIB


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def test_no_room_is_an_answer(root: Path) -> None:
    """The limit for the size of a file stands for a full disk."""
    with serving(root, file_limit=8 * MIB) as (port, _):
        s3 = client(port)
        s3.put_object(Bucket=BUCKET, Key="k", Body=b"old")
        for _ in range(2):
            with pytest.raises(ClientError) as refused:
                s3.put_object(Bucket=BUCKET, Key="k", Body=Zeros(20 * MIB))
            response = refused.value.response
            assert response["ResponseMetadata"]["HTTPStatusCode"] == 507
            assert response["Error"]["Code"] == "InsufficientStorage"
            assert "make room" in response["Error"]["Message"]
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key="k")["UploadId"]
        parts = [
            {
                "PartNumber": number,
                "ETag": s3.upload_part(
                    Bucket=BUCKET, Key="k", UploadId=upload, PartNumber=number, Body=Zeros(5 * MIB)
                )["ETag"],
            }
            for number in (1, 2)
        ]
        with pytest.raises(ClientError, match="InsufficientStorage"):
            s3.complete_multipart_upload(
                Bucket=BUCKET, Key="k", UploadId=upload, MultipartUpload={"Parts": parts}
            )
        assert len(s3.list_parts(Bucket=BUCKET, Key="k", UploadId=upload)["Parts"]) == 2
        assert s3.get_object(Bucket=BUCKET, Key="k")["Body"].read() == b"old"
        staging = [path for path in (root / ".meta/staging").rglob("*") if path.is_file()]
        assert [path.suffix for path in staging] == [".lock"]
