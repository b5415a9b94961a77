"""The gateway's process: one for each state folder, found, started, replaced, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import pytest

from mlops.errors import EnvironmentLacks, GatewayUnavailable, PortInUse, StoreError
from mlops.gateway import process as gateway_process
from mlops.gateway.address import GatewayAddress
from mlops.gateway.client import GatewayClient
from mlops.gateway.process import ensure_gateway, find_gateway, stop_gateway
from mlops.settings import Settings

PYTHON = "python:3.11"
TOKEN = "t" * 32


def eventually(what: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true answer of `what`."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return answer


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and waits for its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return status not in "ZX"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """Settings of a state folder whose gateway is ended after the test."""
    made = Settings(store=tmp_path / "store", runtime="process")
    pids: list[int] = []
    seen = gateway_process._started

    def started(*arguments: Any) -> GatewayAddress:
        address = seen(*arguments)
        pids.append(address.pid)
        return address

    with patch.object(gateway_process, "_started", started):
        yield made
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def start_waiting(client: GatewayClient, lab: SimpleNamespace, seconds: int = 60) -> str:
    """An execution whose one job sleeps."""
    step = lab.processing_step("Wait")
    step["Arguments"]["AppSpecification"] = {
        "ImageUri": PYTHON,
        "ContainerEntrypoint": ["python3", "-c", f"import time; time.sleep({seconds})"],
    }
    client.call(
        "CreatePipeline",
        {
            "PipelineName": "Waiting",
            "PipelineDefinition": lab.definition(step),
            "RoleArn": lab.role,
            "ClientRequestToken": TOKEN,
        },
    )
    answer = client.call(
        "StartPipelineExecution", {"PipelineName": "Waiting", "ClientRequestToken": TOKEN}
    )
    arn: str = answer["PipelineExecutionArn"]
    eventually(lambda: steps_of(client, arn)[0]["StepStatus"] == "Executing")
    return arn


def steps_of(client: GatewayClient, arn: str) -> list[dict[str, Any]]:
    request = {"PipelineExecutionArn": arn}
    steps = client.call("ListPipelineExecutionSteps", request)["PipelineExecutionSteps"]
    return steps or [{"StepStatus": None}]


def status_of(client: GatewayClient, arn: str) -> str:
    answer = client.call("DescribePipelineExecution", {"PipelineExecutionArn": arn})
    status: str = answer["PipelineExecutionStatus"]
    return status


def test_started_once_then_found_then_stopped(settings: Settings) -> None:
    address = ensure_gateway(settings)
    assert alive(address.pid)
    assert ensure_gateway(settings) == address
    health = find_gateway(settings)
    assert health is not None
    assert (health["pid"], health["runtime"]) == (address.pid, "process")
    assert stop_gateway(settings) == address
    eventually(lambda: not alive(address.pid), 1)
    assert find_gateway(settings) is None
    assert stop_gateway(settings) is None
    assert not (settings.store / "gateway.json").exists()


def test_commands_at_once_start_one_gateway(settings: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from mlops.settings import Settings;"
        "from mlops.gateway.process import ensure_gateway;"
        "print(ensure_gateway(Settings(store=Path(sys.argv[1]), runtime='process')).pid)"
    )
    command = [sys.executable, "-c", code, str(settings.store)]
    commands = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    pids = {command.communicate(timeout=60)[0].strip() for command in commands}
    assert len(pids) == 1
    assert pids != {""}
    stop_gateway(settings)


def test_what_was_acknowledged_survives_kill_9(settings: Settings, lab: SimpleNamespace) -> None:
    first = ensure_gateway(settings)
    client = GatewayClient(first.url)
    arn = start_waiting(client, lab, 2)
    client.call("CreateModelPackageGroup", {"ModelPackageGroupName": "g"})
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not alive(first.pid))
    second = ensure_gateway(settings)
    assert second.pid != first.pid
    client = GatewayClient(second.url)
    client.call("DescribeModelPackageGroup", {"ModelPackageGroupName": "g"})
    # Its job went on meanwhile: the execution is taken up again, and ends as if nothing had been.
    assert status_of(client, arn) in ("Executing", "Succeeded")
    eventually(lambda: status_of(client, arn) == "Succeeded")
    (step,) = steps_of(client, arn)
    assert (step["StepStatus"], step["AttemptCount"]) == ("Succeeded", 1)
    stop_gateway(settings)


def test_every_acknowledged_write_survives_kill_9_in_its_midst(settings: Settings) -> None:
    address = ensure_gateway(settings)
    acknowledged: set[str] = set()

    def write(worker: int) -> None:
        client = GatewayClient(address.url)
        for number in range(10_000):
            name = f"g-{worker}-{number}"
            try:
                client.call("CreateModelPackageGroup", {"ModelPackageGroupName": name})
            except GatewayUnavailable:
                return
            acknowledged.add(name)

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
    for writer in writers:
        writer.start()
    eventually(lambda: len(acknowledged) > 100)
    os.kill(address.pid, signal.SIGKILL)
    for writer in writers:
        writer.join()
    client = GatewayClient(ensure_gateway(settings).url)
    rows = client.pages("ListModelPackageGroups", {}, "ModelPackageGroupSummaryList")
    assert acknowledged <= {row["ModelPackageGroupName"] for row in rows}
    stop_gateway(settings)


def test_kill_9_leaves_no_job_that_keeps_the_folder(
    settings: Settings, lab: SimpleNamespace
) -> None:
    first = ensure_gateway(settings)
    start_waiting(GatewayClient(first.url), lab)
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not alive(first.pid))
    begin = time.monotonic()
    ensure_gateway(settings)
    assert time.monotonic() - begin < 5  # it waits that long for a lock that a job holds
    stop_gateway(settings)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_and_records_what_runs(
    settings: Settings, lab: SimpleNamespace, number: signal.Signals
) -> None:
    address = ensure_gateway(settings)
    arn = start_waiting(GatewayClient(address.url), lab)
    os.kill(address.pid, number)
    eventually(lambda: not alive(address.pid), 30)
    again = ensure_gateway(settings)
    assert status_of(GatewayClient(again.url), arn) == "Stopped"
    stop_gateway(settings)


def test_a_follower_hears_of_the_stop(settings: Settings, lab: SimpleNamespace) -> None:
    address = ensure_gateway(settings)
    client = GatewayClient(address.url)
    execution_id = start_waiting(client, lab).rpartition("/")[2]
    seen = 0
    client.shut_down()
    statuses = set()
    while "Stopped" not in statuses:
        news = client.follow(execution_id, events=seen, wait=5)
        statuses.add(news["status"])
        seen = news["events"][-1]["sequence"] if news["events"] else seen
    eventually(lambda: not alive(address.pid))


def test_an_idle_gateway_leaves(settings: Settings) -> None:
    address = ensure_gateway(replace(settings, gateway_idle_seconds=0.5))
    eventually(lambda: not alive(address.pid))
    assert not (settings.store / "gateway.json").exists()
    assert "leaving" in (settings.store / "gateway.log").read_text()


def test_a_gateway_with_something_to_do_stays(settings: Settings, lab: SimpleNamespace) -> None:
    address = ensure_gateway(replace(settings, gateway_idle_seconds=0.5))
    start_waiting(GatewayClient(address.url), lab, seconds=3)
    time.sleep(1.5)
    assert alive(address.pid)
    eventually(lambda: not alive(address.pid), 20)


def test_a_gateway_whose_folder_is_gone_leaves(settings: Settings, tmp_path: Path) -> None:
    address = ensure_gateway(settings)
    settings.store.rename(tmp_path / "elsewhere")
    eventually(lambda: not alive(address.pid))
    assert not settings.store.exists()
    again = ensure_gateway(replace(settings, store=tmp_path / "elsewhere"))
    assert again.pid != address.pid
    stop_gateway(replace(settings, store=tmp_path / "elsewhere"))


@pytest.mark.docker
def test_containers_reach_it_and_nobody_else(settings: Settings, base_image: str) -> None:
    docker = replace(settings, runtime="docker")
    address = ensure_gateway(docker)
    health = GatewayClient(address.url).health()
    assert health["runtime"] == "docker"
    url = f"{health['job_url']}/_mlops/health"
    code = f"import urllib.request; print(urllib.request.urlopen({url!r}).status)"
    answer = subprocess.run(
        ["docker", "run", "--rm", "--label", "mlops-test", base_image, "python3", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.strip() == "200"
    port = int(address.url.rpartition(":")[2])
    assert listening_on(port) == {"127.0.0.1", urlsplit(url).hostname}
    stop_gateway(docker)


def listening_on(port: int) -> set[str]:
    """The addresses of this machine on which something listens at `port`."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, _, state = line.split()[1:4]
            address, _, port_text = local.partition(":")
            if state == "0A" and int(port_text, 16) == port:
                # The kernel writes an IPv4 address as one little-endian number.
                found.add(str(ip_address(bytes.fromhex(address)[::-1])))
    return found


class TestReplacement:
    def test_an_idle_gateway_of_another_version(self, settings: Settings) -> None:
        old = ensure_gateway(settings)
        with patch.object(gateway_process, "code_version", lambda: "9.9.9+new"):
            # The new one is of this checkout, so it is not "9.9.9" either; what counts here is
            # that the old one is asked to leave and another takes its place.
            new = ensure_gateway(settings)
        assert new.pid != old.pid
        eventually(lambda: not alive(old.pid), 1)
        stop_gateway(settings)

    def test_one_that_runs_executions_is_left_alone(
        self, settings: Settings, lab: SimpleNamespace
    ) -> None:
        old = ensure_gateway(settings)
        arn = start_waiting(GatewayClient(old.url), lab)
        with (
            patch.object(gateway_process, "code_version", lambda: "9.9.9+new"),
            pytest.raises(
                GatewayUnavailable, match=r"has version .* and runs executions"
            ) as caught,
        ):
            ensure_gateway(settings)
        assert arn in str(caught.value)
        assert "mlops down" in str(caught.value)
        assert status_of(GatewayClient(old.url), arn) == "Executing"
        stop_gateway(settings)

    @pytest.mark.parametrize(
        "change", [{"account_id": "999999999999"}, {"region": "eu-west-1"}, {"role_arn": "r"}]
    )
    def test_other_settings(self, settings: Settings, change: dict[str, str]) -> None:
        old = ensure_gateway(settings)
        new = ensure_gateway(replace(settings, **change))
        assert new.pid != old.pid
        stop_gateway(settings)


class TestBadStarts:
    def test_a_port_in_use(self, settings: Settings) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(PortInUse, match=str(port)) as caught:
                ensure_gateway(replace(settings, gateway_port=port))
        assert "gateway_port" in str(caught.value)
        assert not (settings.store / "gateway.json").exists()

    def test_a_fixed_port(self, settings: Settings) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fixed = replace(settings, gateway_port=port)
        assert ensure_gateway(fixed).url == f"http://127.0.0.1:{port}"
        stop_gateway(fixed)
        assert ensure_gateway(fixed).url == f"http://127.0.0.1:{port}"
        stop_gateway(fixed)

    def test_a_state_of_a_newer_version(self, settings: Settings) -> None:
        settings.store.mkdir()
        with sqlite3.connect(settings.store / "state.db") as connection:
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(StoreError, match="a newer mlops wrote it"):
            ensure_gateway(settings)

    def test_a_stale_address_file(self, settings: Settings) -> None:
        settings.store.mkdir()
        for text in ("{broken", "{}", json.dumps({"url": "http://127.0.0.1:1", "pid": 1})):
            (settings.store / "gateway.json").write_text(text)
            assert find_gateway(settings) is None
        address = ensure_gateway(settings)
        assert alive(address.pid)
        stop_gateway(settings)

    def test_another_program_at_the_old_address(self, settings: Settings) -> None:
        address = ensure_gateway(settings)
        os.kill(address.pid, signal.SIGKILL)
        eventually(lambda: not alive(address.pid))
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            url = f"http://127.0.0.1:{other.getsockname()[1]}"
            replace(address, url=url).write(settings.store)
            with patch.object(gateway_process, "_HANDSHAKE_SECONDS", 0.5):
                again = ensure_gateway(settings)
        assert again.url != url
        stop_gateway(settings)

    def test_a_gateway_that_is_silent(self, settings: Settings) -> None:
        address = ensure_gateway(settings)
        os.kill(address.pid, signal.SIGSTOP)
        try:
            with (
                patch.object(gateway_process, "_HANDSHAKE_SECONDS", 0.5),
                pytest.raises(GatewayUnavailable, match=f"pid {address.pid}"),
            ):
                ensure_gateway(settings)
        finally:
            os.kill(address.pid, signal.SIGCONT)
        assert ensure_gateway(settings) == address
        stop_gateway(settings)

    def test_a_second_one_by_hand(self, settings: Settings) -> None:
        address = ensure_gateway(settings)
        second = subprocess.run(
            [sys.executable, "-m", "mlops.gateway", "--store", str(settings.store)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == 3
        assert "A gateway runs for this state folder" in second.stderr
        assert ensure_gateway(settings) == address
        stop_gateway(settings)

    def test_a_folder_that_cannot_be_made(self, settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(EnvironmentLacks, match="state folder cannot be used") as caught:
            ensure_gateway(replace(settings, store=tmp_path / "file" / "store"))
        assert "--store" in str(caught.value)


def test_by_hand(settings: Settings) -> None:
    """``python -m mlops.gateway --store DIR`` says where it answers, and ends on SIGINT."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlops.gateway", "--runtime", "process"),
            *("--store", str(settings.store), "--account-id", "123456789012"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = json.loads(process.stdout.readline())["address"]
    assert GatewayClient(address["url"]).health()["pid"] == process.pid
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_resume_by_the_command(settings: Settings, lab: SimpleNamespace) -> None:
    """An execution that was stopped with its gateway goes on when a person says so."""
    client = GatewayClient(ensure_gateway(settings).url)
    arn = start_waiting(client, lab, 2)
    stop_gateway(settings)
    # The command starts the gateway by itself.
    resumed = subprocess.run(
        [
            *(sys.executable, "-m", "mlops", "executions", "resume", arn),
            *("--follow", "--store", str(settings.store)),
        ],
        env={**os.environ, "MLOPS_RUNTIME": "process"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming" in resumed.stdout
    client = GatewayClient(ensure_gateway(settings).url)
    assert status_of(client, arn) == "Succeeded"
    (step,) = steps_of(client, arn)
    assert step["AttemptCount"] == 2
    stop_gateway(settings)
