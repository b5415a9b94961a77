"""Endpoints whose servers are containers and processes, and gateways that come and go."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mlops.app import compose_gateway
from mlops.execution.direct_jobs import JOBS_LABEL
from mlops.gateway.process import ensure_gateway, find_gateway
from mlops.gateway.server import GatewayThread
from mlops.ports import SERVERS_LABEL, ContainerRuntime
from mlops.runtimes.choice import choose_runtime
from mlops.runtimes.namespaces import Isolation, Namespaces, probe_namespaces
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.runtimes.process_tree import marked
from mlops.settings import ImageMapping, Settings

from .conftest import Account

TINY = Path(__file__).resolve().parents[2] / "data/tiny_server"
TAG = "mlops-test-tiny-server:local"


@dataclass
class Site:
    """A state folder, and the runtime that its gateways have."""

    settings: Settings
    runtime: ContainerRuntime

    def account(self, url: str) -> Account:
        session = boto3.Session("any", "thing", region_name="us-east-1")
        config = Config(retries={"total_max_attempts": 1})
        return Account(lambda service: session.client(service, endpoint_url=url, config=config))

    def servers(self) -> int:
        """How many run."""
        return len(self.running())

    def running(self) -> list[str]:
        """The servers that run, looked at from outside: a second runtime would watch them, too."""
        if isinstance(self.runtime, ProcessRuntime):
            runs = self.settings.store.glob("runtime/process/*")
            return [run.name for run in runs if marked(run.name)]
        label = f"{SERVERS_LABEL}={self.settings.store}"
        client: Any = self.runtime.engine.client  # type: ignore[attr-defined]  # it is Docker's
        return [found["Id"] for found in client.containers(filters={"label": label})]

    def still_running(self, server: str) -> bool:
        """Whether one of `running` still does, wherever the state folder is by now."""
        if isinstance(self.runtime, ProcessRuntime):
            return bool(marked(server))
        client: Any = self.runtime.engine.client  # type: ignore[attr-defined]  # it is Docker's
        return bool(client.containers(filters={"id": server}))


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process", "plain"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    yield from made_site(request, tmp_path, request.param)


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
def lasting_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """The same, for gateways of their own process, which choose the runtime themselves."""
    yield from made_site(request, tmp_path, request.param)


def made_site(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> Iterator[Site]:
    tag = request.getfixturevalue("tiny_server_image") if kind == "docker" else TAG
    # Below `containers/`, as the setting says; from there to this test's own folder.
    folder = os.path.relpath(TINY, Path(__file__).resolve().parents[3] / "containers")
    settings = Settings(
        store=tmp_path / "store",
        runtime="docker" if kind == "docker" else "process",
        images=(ImageMapping("*", tag, folder),),
    )
    site = Site(settings, made_runtime(kind, settings))
    yield site
    left = site.runtime.remove_leftovers({SERVERS_LABEL: str(settings.store)})
    assert list(left) == [], "a test left servers running"


def made_runtime(kind: str, settings: Settings) -> ContainerRuntime:
    if kind == "plain":
        return ProcessRuntime(settings, namespaces=Namespaces(Isolation.NONE, "the test says so"))
    if kind == "process":
        found = probe_namespaces(settings.store)
        if found.isolation is Isolation.NONE:
            pytest.skip(f"no namespaces here: {found.reason}")
    return choose_runtime(settings)


def model(account: Account, name: str, **environment: str) -> str:
    """A model whose file `name` says what it is called."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("name")
        member.size = len(name)
        tar.addfile(member, io.BytesIO(name.encode()))
    account.s3.create_bucket(Bucket="models")
    account.s3.put_object(Bucket="models", Key=f"{name}.tar.gz", Body=content.getvalue())
    return account.model(name, ModelDataUrl=f"s3://models/{name}.tar.gz", Environment=environment)


def listens(address: str, host: str) -> bool:
    """Whether a server's port is open on another of this machine's addresses."""
    port = int(address.partition(":")[2])
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def test_a_model_is_served_and_nothing_of_it_is_left(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        account.config(model=model(account, "blue", A="1"))
        account.endpoint()
        assert account.invoke(b" 1,2", Accept="text/csv")["Body"] == b"blue 1,2"
        gateway = account.invoke(b"where")["Body"].decode()
        assert gateway.startswith("http://")
        assert gateway.rpartition(":")[2] == url.rpartition(":")[2]
        (server,) = site.runtime.find_servers({SERVERS_LABEL: str(site.settings.store)})
        for host in other_addresses():
            assert not listens(str(server.address), host), "a server is open to the network"
        account.sagemaker.delete_endpoint(EndpointName="e")
        assert site.servers() == 0
        assert list((site.settings.store / "endpoints").iterdir()) == []


def other_addresses() -> list[str]:
    """This machine's IPv4 addresses other than the loopback ones."""
    listed = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    return [each for each in listed.stdout.split() if ":" not in each]


def test_a_server_that_does_not_start_says_why(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        account.config(model=model(account, "blue", START="fails"))
        account.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        reason = account.status(wanted="Failed")["FailureReason"]
        assert "ended with exit code 1. Its log ends:\n" in reason
        assert "reading the model" in reason
        assert "serve: the model is of another kind" in reason
        assert site.servers() == 0
        account.sagemaker.delete_endpoint(EndpointName="e")


def test_an_endpoint_that_hangs_can_be_deleted(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        account.config(model=model(account, "blue", START="hangs"))
        account.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        wait_until(lambda: site.servers() == 1)
        assert account.describe()["EndpointStatus"] == "Creating"
        account.sagemaker.delete_endpoint(EndpointName="e")
        assert site.servers() == 0


def test_a_server_that_dies_comes_back(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        account.config(model=model(account, "blue"))
        account.endpoint()
        account.invoke()
        with pytest.raises(account.runtime.exceptions.ModelError, match="model process exited"):
            account.invoke(b"die")
        described = account.status(wanted="OutOfService")
        reason = described["FailureReason"]
        assert "ended with exit code 3. Its log ends:\nlistening\n" in reason
        assert "\ntold to die\nThe whole log: " in reason
        assert reason.endswith("\nIt is started again in 0.5 s.")
        account.status(wanted="InService")
        assert account.invoke()["Body"] == b"blue1,2"
        group = "/aws/sagemaker/Endpoints/e"
        logs = account.logs
        (listed,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
        assert listed["logGroupName"] == group
        events = logs.filter_log_events(logGroupName=group, filterPattern="told")["events"]
        assert [event["message"] for event in events] == ["told to die"]
        stream = events[0]["logStreamName"]
        lines = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
        assert lines["events"][0]["message"] == "listening"
        account.sagemaker.delete_endpoint(EndpointName="e")
        assert site.servers() == 0


def test_an_update_fails_no_request(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        account.config("c1", model(account, "blue"))
        account.config("c2", model(account, "green"))
        account.endpoint(config="c1")
        seen: list[bytes] = []
        errors: list[Exception] = []
        ending = threading.Event()

        def call() -> None:
            mine = site.account(url)
            while not ending.is_set():
                try:
                    seen.append(mine.invoke(b"")["Body"])
                except Exception as error:  # noqa: BLE001 - each is a finding
                    errors.append(error)

        clients = [threading.Thread(target=call) for _ in range(2)]
        for client in clients:
            client.start()
        wait_until(lambda: seen.count(b"blue") > 20)
        account.sagemaker.update_endpoint(EndpointName="e", EndpointConfigName="c2")
        wait_until(lambda: seen.count(b"green") > 20)
        account.in_service()
        ending.set()
        for client in clients:
            client.join()
        assert errors == []
        assert seen[-1] == b"green"
        assert site.servers() == 1
        account.sagemaker.delete_endpoint(EndpointName="e")


def test_serverless_memory_is_a_limit(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        account.config(
            model=model(account, "blue"),
            ServerlessConfig={"MemorySizeInMB": 1024, "MaxConcurrency": 1},
        )
        account.endpoint()
        with pytest.raises(account.runtime.exceptions.ModelError):
            account.invoke(b"eat")
        reason = account.status(wanted="OutOfService")["FailureReason"]
        assert "it ran out of memory (MemorySizeInMB 1024)" in reason
        account.status(wanted="InService")
        assert account.invoke()["Body"] == b"blue1,2"
        account.sagemaker.delete_endpoint(EndpointName="e")


def test_an_endpoint_outlives_its_gateway(lasting_site: Site) -> None:
    site = lasting_site
    first = ensure_gateway(site.settings)
    account = site.account(first.url)
    account.config(model=model(account, "blue"))
    account.endpoint()
    account.invoke()
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: find_gateway(site.settings) is None)
    assert site.servers() == 1
    second = ensure_gateway(site.settings)
    try:
        assert second.pid != first.pid
        account = site.account(second.url)
        assert account.invoke()["Body"] == b"blue1,2"  # at once
        assert account.describe()["EndpointStatus"] == "InService"
        account.sagemaker.delete_endpoint(EndpointName="e")
        assert site.servers() == 0
    finally:
        end_gateway(site.settings)


def test_what_was_queued_is_carried_out_by_the_next_gateway(lasting_site: Site) -> None:
    site = lasting_site
    first = ensure_gateway(site.settings)
    account = site.account(first.url)
    account.sagemaker.create_endpoint_config(
        EndpointConfigName="c",
        ProductionVariants=[
            {
                "VariantName": "AllTraffic",
                "ModelName": model(account, "blue"),
                "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large",
            }
        ],
        AsyncInferenceConfig={
            "OutputConfig": {"S3OutputPath": "s3://models/out"},
            "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 1},
        },
    )
    account.endpoint()
    bodies = (b"sleep", b"row 1", b"row 2")
    asked = [
        account.runtime.invoke_endpoint_async(EndpointName="e", Body=body)["OutputLocation"]
        for body in bodies
    ]
    os.kill(first.pid, signal.SIGKILL)  # while the first is in the server
    wait_until(lambda: find_gateway(site.settings) is None)
    account = site.account(ensure_gateway(site.settings).url)
    try:
        for body, place in zip(bodies, asked, strict=True):
            key = place.removeprefix("s3://models/")
            account.s3.get_waiter("object_exists").wait(
                Bucket="models", Key=key, WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200}
            )
            found = account.s3.get_object(Bucket="models", Key=key)["Body"].read()
            assert found == b"blue" + body
        account.sagemaker.delete_endpoint(EndpointName="e")
        assert site.servers() == 0
    finally:
        end_gateway(site.settings)


def test_a_server_that_died_without_a_gateway_is_started_anew(lasting_site: Site) -> None:
    site = lasting_site
    account = site.account(ensure_gateway(site.settings).url)
    account.config(model=model(account, "blue"))
    account.endpoint()
    end_gateway(site.settings)
    assert site.servers() == 1
    (server,) = site.runtime.find_servers({SERVERS_LABEL: str(site.settings.store)})
    server.stop(0)
    server.wait(30)
    account = site.account(ensure_gateway(site.settings).url)
    try:
        account.status(wanted="InService")
        assert account.invoke()["Body"] == b"blue1,2"
        account.sagemaker.delete_endpoint(EndpointName="e")
    finally:
        end_gateway(site.settings)


def test_a_moved_state_folder_takes_its_servers_with_it(lasting_site: Site) -> None:
    site = lasting_site
    address = ensure_gateway(site.settings)
    account = site.account(address.url)
    account.config(model=model(account, "blue"))
    account.endpoint()
    (server,) = site.running()
    site.settings.store.rename(site.settings.store.with_name("moved"))
    wait_until(lambda: not Path(f"/proc/{address.pid}").exists())
    assert not site.still_running(server)


def test_a_found_server_goes_with_its_folder_too(lasting_site: Site) -> None:
    site = lasting_site
    account = site.account(ensure_gateway(site.settings).url)
    account.config(model=model(account, "blue"))
    account.endpoint()
    end_gateway(site.settings)
    address = ensure_gateway(site.settings)
    (server,) = site.running()
    shutil.rmtree(site.settings.store)
    wait_until(lambda: not Path(f"/proc/{address.pid}").exists())
    assert not site.still_running(server)


FILL = """
import sys, time
from pathlib import Path
from mlops.app import compose_gateway
from mlops.execution.direct_jobs import JOBS_LABEL
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer
from mlops.settings import Settings

disk = Path(sys.argv[1])
sys.path.insert(0, sys.argv[2])
import boto3
settings = Settings(store=disk / "store")
with GatewayThread(compose_gateway(settings, FakeRuntime(FakeModelServer()))) as url:
    session = boto3.Session("a", "b", region_name="us-east-1")
    sagemaker, s3 = (session.client(n, endpoint_url=url) for n in ("sagemaker", "s3"))
    import io, os, tarfile
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        member = tarfile.TarInfo("weights")
        member.size = 100_000_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    s3.create_bucket(Bucket="models")
    s3.put_object(Bucket="models", Key="m.tar.gz", Body=content.getvalue())
    sagemaker.create_model(ModelName="m", ExecutionRoleArn=settings.execution_role_arn,
        PrimaryContainer={"Image": "i", "ModelDataUrl": "s3://models/m.tar.gz"})
    sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=[
        {"VariantName": "v", "ModelName": "m", "InstanceType": "ml.m5.large"}])
    sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
    while (found := sagemaker.describe_endpoint(EndpointName="e"))["EndpointStatus"] == "Creating":
        time.sleep(0.01)
    print(found["EndpointStatus"], found["FailureReason"])
    sagemaker.delete_endpoint(EndpointName="e")
    assert not (disk / "store/endpoints/e").exists()
"""


def test_a_full_disk_is_one_clear_message(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=40m none {disk}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    script = tmp_path / "fill.py"
    script.write_text(FILL)
    run = subprocess.run(
        [
            "unshare",
            "-rm",
            "sh",
            "-c",
            f"{mount} && exec {sys.executable} {script} {disk} {Path(__file__).parents[3]}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Failed There is no room to unpack the model data s3://models/m")


def test_a_missing_image_is_one_clear_message(lasting_site: Site) -> None:
    site = lasting_site
    settings = replace(site.settings, images=(ImageMapping("*/gone:*", "mlops-test-gone:local"),))
    runtime = made_runtime(settings.runtime, settings)
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        account = site.account(url)
        image = "registry.invalid/gone:1"
        account.model("m", Image=image)
        account.config()
        account.sagemaker.create_endpoint(EndpointName="e", EndpointConfigName="c")
        reason = account.status(wanted="Failed")["FailureReason"]
        assert "gone" in reason
        assert "next:" in reason
        with pytest.raises(ClientError):
            account.invoke()
        account.sagemaker.delete_endpoint(EndpointName="e")


def end_gateway(settings: Settings) -> None:
    from mlops.gateway import process

    process.stop_gateway(settings)


def wait_until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        time.sleep(0.02)


def test_clean_all_ends_the_servers_too(lasting_site: Site) -> None:
    from mlops import cleaning

    site = lasting_site
    account = site.account(ensure_gateway(site.settings).url)
    account.config(model=model(account, "blue"))
    account.endpoint()
    assert site.servers() == 1
    plan = cleaning.plan_clean(site.settings, everything=True)
    cleaning.carry_out_clean(site.settings, plan)
    assert site.servers() == 0
    assert not site.settings.store.exists()


def transform_request(model_name: str) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://models/rows"}}
    return {
        "TransformJobName": "batch",
        "ModelName": model_name,
        "BatchStrategy": "SingleRecord",
        "TransformInput": {"DataSource": source, "SplitType": "Line"},
        "TransformOutput": {"S3OutputPath": "s3://models/out", "AssembleWith": "Line"},
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


def transformed(account: Account) -> str:
    waiter = account.sagemaker.get_waiter("transform_job_completed_or_stopped")
    waiter.wait(TransformJobName="batch", WaiterConfig={"Delay": 0.05, "MaxAttempts": 1200})
    answer = account.s3.get_object(Bucket="models", Key="out/rows.csv.out")
    return str(answer["Body"].read().decode())


def test_a_batch_job_has_a_server_of_its_own(site: Site) -> None:
    with GatewayThread(compose_gateway(site.settings, site.runtime)) as url:
        account = site.account(url)
        request = transform_request(model(account, "blue"))
        account.s3.put_object(Bucket="models", Key="rows.csv", Body=b"1,2\n3,4\n")
        account.sagemaker.create_transform_job(**request)
        assert transformed(account) == "blue1,2\nblue3,4\n"
        failing = transform_request(model(account, "red", START="fails"))
        account.sagemaker.create_transform_job(**failing | {"TransformJobName": "other"})
        wait_until(lambda: describe_batch(account, "other")["TransformJobStatus"] == "Failed")
        reason = describe_batch(account, "other")["FailureReason"]
        assert "The server of the model red does not serve: it ended with exit code 1." in reason
        assert "serve: the model is of another kind" in reason
    assert site.runtime.remove_leftovers({JOBS_LABEL: str(site.settings.store)}) == []


def describe_batch(account: Account, name: str) -> dict[str, Any]:
    found: dict[str, Any] = account.sagemaker.describe_transform_job(TransformJobName=name)
    return found


def test_a_batch_job_begins_anew_when_its_gateway_is_killed(lasting_site: Site) -> None:
    site = lasting_site
    first = ensure_gateway(site.settings)
    account = site.account(first.url)
    request = transform_request(model(account, "blue"))
    account.s3.put_object(Bucket="models", Key="rows.csv", Body=b"sleep\nsleep\n1,2\n")
    account.sagemaker.create_transform_job(**request)
    log = site.settings.store / "jobs/transform-job/batch/log.txt"
    wait_until(lambda: log.is_file() and "BatchStrategy=SingleRecord" in log.read_text())
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: find_gateway(site.settings) is None)
    account = site.account(ensure_gateway(site.settings).url)
    try:
        assert transformed(account) == "bluesleep\nbluesleep\nblue1,2\n"
        assert log.read_text().count("listening") == 1
    finally:
        end_gateway(site.settings)
    assert site.runtime.remove_leftovers({JOBS_LABEL: str(site.settings.store)}) == []
