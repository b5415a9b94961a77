"""Which runtime the settings, the environment and the machine lead to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlops.errors import RuntimeUnavailable, SettingsError
from mlops.runtimes.choice import choose_runtime
from mlops.runtimes.namespaces import Isolation
from mlops.runtimes.process_runtime import ProcessRuntime
from mlops.settings import Settings

NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="processes need Linux")


def settings(store: Path, runtime: str) -> Settings:
    return Settings(store=store, runtime=runtime)


@linux_only
@pytest.mark.parametrize("runtime", ["auto", "process"])
def test_processes_where_no_engine_answers(tmp_path: Path, runtime: str) -> None:
    chosen = choose_runtime(settings(tmp_path, runtime), environment=NO_ENGINE)
    assert (chosen.name, chosen.gateway_host) == ("process", "127.0.0.1")


def test_docker_asked_for_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable) as caught:
        choose_runtime(settings(tmp_path, "docker"), environment=NO_ENGINE)
    assert caught.value.exit_code == 3
    assert "/nowhere/docker.sock" in str(caught.value)
    assert "no such socket" in str(caught.value)


@linux_only
def test_namespaces_can_be_forgone(tmp_path: Path) -> None:
    environment = NO_ENGINE | {"MLOPS_PROCESS_ISOLATION": "none"}
    chosen = choose_runtime(settings(tmp_path, "process"), environment=environment)
    assert isinstance(chosen, ProcessRuntime)
    assert chosen.namespaces.isolation is Isolation.NONE
    assert "MLOPS_PROCESS_ISOLATION" in chosen.namespaces.reason


def test_an_isolation_that_means_nothing(tmp_path: Path) -> None:
    environment = NO_ENGINE | {"MLOPS_PROCESS_ISOLATION": "full"}
    with pytest.raises(SettingsError, match="MLOPS_PROCESS_ISOLATION is 'full'"):
        choose_runtime(settings(tmp_path, "process"), environment=environment)


@pytest.mark.docker
def test_docker_where_an_engine_answers(tmp_path: Path, docker_engine: object) -> None:
    chosen = choose_runtime(settings(tmp_path, "auto"))
    assert chosen.name == "docker"
    assert chosen.gateway_host
