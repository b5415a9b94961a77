"""Gateways that are killed, stopped, replaced, or whose folder goes: told, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from pathlib import Path

from .conftest import REPOSITORY, SLEEP, Shell, read_until, script

SHORT = "import time\nfor n in range(20): print('line', n); time.sleep(0.1)\nprint('detail: done')"


def test_a_run_survives_the_gateway_that_is_killed_under_it(shell: Shell) -> None:
    process = shell.start(
        "run", shell.definition(script("Talk", SHORT), script("Say", "", after="Talk"))
    )
    read_until(process, "line 2")
    os.kill(shell.gateway_pid(), signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert "the gateway was lost" in rest
    assert rest.count("line 15") == 1
    assert "status    ✓ Succeeded" in rest
    assert len(shell.json("executions", "list", "--json")) == 1


def test_a_gateway_that_cannot_start_again_is_told(shell: Shell, tmp_path: Path) -> None:
    process = shell.start("run", shell.definition(script("Talk", SHORT)))
    read_until(process, "line 2")
    gateway = shell.gateway_pid()
    (shell.store / "gateway.lock").unlink()
    (shell.store / "gateway.lock").mkdir()
    os.kill(gateway, signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 3, rest
    assert "error:" in rest
    assert "next:" in rest
    (shell.store / "gateway.lock").rmdir()
    shell("executions", "logs", "latest", "--follow")


def test_down_stops_what_runs_and_who_follows_is_told(shell: Shell) -> None:
    process = shell.start("run", shell.definition(script("Sleep", SLEEP)))
    read_until(process, "asleep")
    shell("down")
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 130, rest
    assert "status    ■ Stopped" in rest


def test_a_state_folder_that_is_removed_is_told_and_not_made_again(shell: Shell) -> None:
    process = shell.start("run", shell.definition(script("Sleep", SLEEP)))
    read_until(process, "asleep")
    gone = shell.store.with_name("gone")
    shell.store.rename(gone)
    shutil.rmtree(gone)
    rest, _ = process.communicate(timeout=90)
    assert process.returncode == 3, rest
    assert "The state folder was removed while the pipeline ran" in rest
    assert not shell.store.exists()


def test_a_gateway_of_another_version_is_replaced_when_idle_and_left_when_busy(
    shell: Shell, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for part in ("mlops", "containers", "step_code"):
        shutil.copytree(REPOSITORY / part, other / part, ignore=shutil.ignore_patterns("__pyc*"))
    (other / "mlops/gateway/server.py").open("a").write("# of another day\n")
    file = shell.definition(script("Sleep", SLEEP))

    shell("run", file, "--detach")
    shell.variables = {"PYTHONPATH": str(other)}
    told = shell("run", file, code=3).stderr
    assert "has version 0.1.0+" in told
    assert "mlops down" in told
    assert len(shell.json("status", "--json")["executions"]) == 1

    shell("down")
    former = shell.json("executions", "list", "--json")  # starts the other one, which is idle then
    assert [found["status"] for found in former] == ["Stopped"]
    shell.variables = {}
    assert shell.json("executions", "list", "--json") == former


def test_status_tells_pid_url_version_and_what_runs(shell: Shell) -> None:
    assert shell.json("status", "--json") == {"running": False, "store": str(shell.store)}
    assert f"no gateway runs for {shell.store}" in shell("status").stdout
    shown = shell("up").stdout
    status = shell.json("status", "--json")
    assert status["pid"] == shell.gateway_pid()
    assert f"export AWS_ENDPOINT_URL={status['url']}" in shown
    assert status["version"].startswith("0.1.0+")
    assert status["executions"] == []
    assert "nothing runs" in shell("status").stdout
    shell("down")
    assert "no gateway runs" in shell("down").stdout


def test_up_opens_the_gateway_where_it_is_asked_to(shell: Shell) -> None:
    shell("up")
    first = shell.gateway_pid()
    shown = shell("up", "--host", "127.0.0.2").stdout  # stands for an address beyond
    pid, status = shell.gateway_pid(), shell.json("status", "--json")
    assert (pid != first, status["host"]) == (True, "127.0.0.2")
    port = status["url"].rpartition(":")[2]
    assert f"export AWS_ENDPOINT_URL=http://127.0.0.2:{port}" in shown
    file = shell.store / "gateway.credentials.json"
    keys = json.loads(file.read_text())
    assert f"export AWS_SECRET_ACCESS_KEY={keys['secret_access_key']}" in shown
    assert keys["secret_access_key"] not in shell("up").stdout  # who does not ask is served by it
    assert shell.gateway_pid() == pid
    assert "listens on 127.0.0.2, too" in shell("status").stdout
    assert keys["secret_access_key"] not in (shell.store / "gateway.log").read_text()


def test_a_port_that_is_taken_is_3_and_another_moves_the_gateway(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        told = shell("up", "--port", taken, code=3).stderr
        assert f"Port {taken} is in use" in told
        shell.variables = {"MLOPS_GATEWAY_PORT": str(taken)}
        assert str(taken) in shell("run", shell.definition(script("A", "")), code=3).stderr
    shell.variables = {}
    shell("up")
    assert f":{taken} " in shell("up", "--port", taken).stdout
    assert shell.json("status", "--json")["url"].endswith(f":{taken}")
