"""Several containers of one job reach one another by host name, in every real runtime."""

# Jobs are written as step code is: short, for any Python.

from __future__ import annotations

from typing import Any

import pytest

from mlops.errors import RuntimeUnavailable
from mlops.ports import Peers

HOSTS = ("algo-1", "algo-2", "algo-3")


def answer_or_ask(me):
    """The first host sums up what the others send it; each says who it is."""
    import socket

    host = me.environment["HOST"]
    me.say(host, socket.gethostname(), len(set(map(socket.gethostbyname, [host]))))
    if host == "algo-1":
        server = socket.create_server((host, 7777))
        me.say("ready")
        heard = []
        for _ in range(2):
            connection, _ = server.accept()
            heard.append(connection.recv(100).decode())
        me.say("heard", *sorted(heard))
        return 0
    for _ in range(400):
        try:
            with socket.create_connection(("algo-1", 7777), 5) as connection:
                connection.sendall(host.encode())
            return 0
        except OSError:
            time.sleep(0.05)  # noqa: F821 - JOB_SIDE imports it
    return 1


def start(harness: Any, network: str) -> list[Any]:
    return [
        harness.start(
            answer_or_ask,
            environment={"HOST": host},
            peers=Peers(network=network, host=host, hosts=HOSTS),
        )
        for host in HOSTS
    ]


def needs_names(harness: Any) -> None:
    if not harness.real:
        pytest.skip("the fake's jobs have no network")
    if not harness.own_opt_ml:
        pytest.skip("refused without namespaces: see below")


def test_peers_reach_one_another_by_name(harness: Any) -> None:
    needs_names(harness)
    running = start(harness, "mlops-test-a")
    assert [harness.finish(job).exit_status for job, _ in running] == [0, 0, 0]
    log = running[0][1].log.read_text()
    assert "algo-1 algo-1 1" in log
    assert "heard algo-2 algo-3" in log


def test_two_jobs_have_an_algo_1_each(harness: Any) -> None:
    needs_names(harness)
    running = [*start(harness, "mlops-test-b"), *start(harness, "mlops-test-c")]
    assert [harness.finish(job).exit_status for job, _ in running] == [0] * 6
    for _, spec in (running[0], running[3]):
        assert "heard algo-2 algo-3" in spec.log.read_text()


def test_a_network_goes_with_the_last_of_its_containers(harness: Any) -> None:
    if harness.runtime.name != "docker":
        pytest.skip("only Docker makes networks")
    for job, _ in start(harness, "mlops-test-d"):
        harness.finish(job)
    assert harness.runtime.engine.client.networks(names=["mlops-test-d"]) == []


def test_without_names_of_their_own_peers_are_refused(harness: Any) -> None:
    if harness.own_opt_ml or not harness.real:
        pytest.skip("only plain processes have no names of their own")
    with pytest.raises(RuntimeUnavailable, match="has 3 instances"):
        start(harness, "mlops-test-e")
