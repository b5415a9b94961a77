"""The gateway beside moto's server, in one run: start, small requests, long lists, large objects.

- from the start of the process to the first answer; goal: under 0.7 s;
- DescribePipeline, one request at a time; goals: p50 under 2 ms, and no slower than
  GetCallerIdentity of moto;
- a page of ListPipelineExecutions of a pipeline with 10,000 of them; goal: under 20 ms;
- an object of 1 GiB up and down through boto3; goals: less than 100 MiB of memory above idle, no
  slower than moto, nor than `rclone serve s3` where that is installed (from version 1.65).

moto is installed by the extra ``bench``.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlops.app import stop_gateway
from mlops.aws import gateway_session
from mlops.gateway.process import ensure_gateway
from mlops.ports import ExecutionRecord, ExecutionStatus
from mlops.settings import Settings
from mlops.stores.state import SqliteStateStore

STARTS = 5
REQUESTS = 1000
EXECUTIONS = 10_000
OBJECT_MIB = 1024
ROLE = "arn:aws:iam::123456789012:role/any"
DEFINITION = json.dumps(
    {"Version": "2020-12-01", "Steps": [{"Name": "F", "Type": "Fail", "Arguments": {}}]}
)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
        place = Path(folder)
        settings = Settings(store=place / "store", runtime="process")
        try:
            _report_start(settings)
            address = ensure_gateway(settings)
            with _moto() as (moto_url, moto_pid):
                _report_requests(address.url, moto_url)
                _report_objects(
                    {"gateway": (address.url, address.pid), "moto": (moto_url, moto_pid)}, place
                )
            with _rclone(place) as rclone:
                if rclone:
                    _report_objects({"rclone": rclone}, place)
            _report_list(settings)
        finally:
            stop_gateway(settings)


# --- the peers ---


@contextmanager
def _moto() -> Iterator[tuple[str, int]]:
    port = _free_port()
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with _server([sys.executable, "-c", code], port) as running:
        yield running


@contextmanager
def _rclone(place: Path) -> Iterator[tuple[str, int] | None]:
    """`rclone serve s3` over a folder; None where there is none that can."""
    program = shutil.which("rclone")
    if program is None or b"serve s3" not in _output([program, "serve", "s3", "--help"]):
        print("  rclone: left out: there is none here that serves S3")
        yield None
        return
    (place / "rclone").mkdir()
    port = _free_port()
    command = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", str(place / "rclone")]
    with _server(command, port) as running:
        yield running


@contextmanager
def _server(command: list[str], port: int) -> Iterator[tuple[str, int]]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            deadline = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert process.poll() is None, f"{command[0]} ended: {process.returncode}"
                assert time.monotonic() < deadline, command
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}", process.pid
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _output(command: list[str]) -> bytes:
    return subprocess.run(command, capture_output=True, check=False).stdout


# --- start ---


def _report_start(settings: Settings) -> None:
    seconds = []
    for _ in range(STARTS):
        stop_gateway(settings)
        begin = time.perf_counter()
        ensure_gateway(settings)
        seconds.append(time.perf_counter() - begin)
    print(f"  start to the first answer: {sorted(seconds)[STARTS // 2]:.2f} s (median of {STARTS})")


# --- small requests ---


def _report_requests(url: str, moto_url: str) -> None:
    ours, moto = (gateway_session(url, "us-east-1"), gateway_session(moto_url, "us-east-1"))
    sagemaker = ours.client("sagemaker")
    sagemaker.create_pipeline(PipelineName="p", PipelineDefinition=DEFINITION, RoleArn=ROLE)
    identity, other_identity = ours.client("sts"), moto.client("sts")
    for name, call in {
        "DescribePipeline, gateway, boto3": lambda: sagemaker.describe_pipeline(PipelineName="p"),
        "GetCallerIdentity, gateway, boto3": identity.get_caller_identity,
        "GetCallerIdentity, moto, boto3": other_identity.get_caller_identity,
        "DescribePipeline, gateway, HTTP": _describer(url),
        "GetCallerIdentity, moto, HTTP": _caller(moto_url),
    }.items():
        print(f"  {name:34s} p50 {_p50_ms(call):6.2f} ms", flush=True)


def _describer(url: str) -> Callable[[], bytes]:
    headers = {
        "X-Amz-Target": "SageMaker.DescribePipeline",
        "Content-Type": "application/x-amz-json-1.1",
    }
    return _poster(url, b'{"PipelineName":"p"}', headers)


def _caller(url: str) -> Callable[[], bytes]:
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "Authorization": "AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/sts/aws4_request, "
        "SignedHeaders=host, Signature=any",
    }
    return _poster(url, b"Action=GetCallerIdentity&Version=2011-06-15", headers)


def _poster(url: str, body: bytes, headers: dict[str, str]) -> Callable[[], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc)

    def post() -> bytes:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return answer.read()

    return post


def _p50_ms(call: Callable[[], object]) -> float:
    for _ in range(50):
        call()
    seconds = []
    for _ in range(REQUESTS):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return 1e3 * sorted(seconds)[REQUESTS // 2]


# --- long lists ---


def _report_list(settings: Settings) -> None:
    """Executions are written while no gateway runs: 10,000 of them are not begun in a benchmark."""
    stop_gateway(settings)
    state = SqliteStateStore(settings.store / "state.db")
    pipeline = state.get_pipeline("p")
    assert pipeline is not None
    begin = datetime.now(UTC) - timedelta(days=30)
    with state.transaction():
        for number in range(EXECUTIONS):
            at = begin + timedelta(minutes=number)
            state.put_execution(
                ExecutionRecord(
                    arn=f"{pipeline.arn}/execution/{number:012d}",
                    id=f"{number:012d}",
                    pipeline_name="p",
                    pipeline_arn=pipeline.arn,
                    display_name=f"execution-{number}",
                    status=ExecutionStatus.SUCCEEDED,
                    started_at=at,
                    last_modified_at=at,
                    definition=pipeline.definition,
                    parameters={},
                )
            )
    state.close()
    sagemaker = gateway_session(ensure_gateway(settings).url, "us-east-1").client("sagemaker")
    page = {"PipelineName": "p", "MaxResults": 100}
    first = sagemaker.list_pipeline_executions(**page)
    assert len(first["PipelineExecutionSummaries"]) == 100
    for what, more in {
        "first": {},
        "second": {"NextToken": first["NextToken"]},
        "oldest first": {"SortOrder": "Ascending"},
    }.items():
        seconds = []
        for _ in range(50):
            start = time.perf_counter()
            sagemaker.list_pipeline_executions(**page, **more)
            seconds.append(time.perf_counter() - start)
        print(
            f"  page of 100 of {EXECUTIONS} executions, {what}: {1e3 * sorted(seconds)[25]:.1f} ms"
        )


# --- large objects ---


def _report_objects(servers: dict[str, tuple[str, int]], place: Path) -> None:
    file = place / "large"
    with file.open("wb") as content:
        for _ in range(OBJECT_MIB):
            content.write(os.urandom(1 << 20))
    for name, (url, pid) in servers.items():
        s3 = gateway_session(url, "us-east-1").client("s3")
        s3.create_bucket(Bucket="large")
        idle = _memory_mib(pid, "VmRSS")
        _forget_peak(pid)
        for way, up, down in (
            ("multipart", _upload_parts, _download_parts),
            ("in one", _put, _get),
        ):
            to, back = _seconds(lambda: up(s3, file)), _seconds(lambda: down(s3, place / "back"))  # noqa: B023
            print(
                f"  {OBJECT_MIB} MiB {way:9s} {name:8s} up {to:5.2f} s, down {back:5.2f} s, "
                f"{_memory_mib(pid, 'VmHWM') - idle:5.0f} MiB above idle",
                flush=True,
            )
        s3.delete_object(Bucket="large", Key="large")
    (place / "back").unlink()
    file.unlink()


def _upload_parts(s3: Any, file: Path) -> None:
    s3.upload_file(str(file), "large", "large")


def _download_parts(s3: Any, file: Path) -> None:
    s3.download_file("large", "large", str(file))


def _put(s3: Any, file: Path) -> None:
    with file.open("rb") as content:
        s3.put_object(Bucket="large", Key="large", Body=content)


def _get(s3: Any, file: Path) -> None:
    with file.open("wb") as target:
        for chunk in s3.get_object(Bucket="large", Key="large")["Body"].iter_chunks(1 << 20):
            target.write(chunk)


def _seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def _memory_mib(pid: int, what: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(what)


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
