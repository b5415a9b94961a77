"""The engine's errors in this project's terms, and what it says about itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import requests
from docker.errors import APIError, ImageNotFound

from mlops.errors import DiskFull, ImageUnavailable, JobError, MlopsError, RuntimeUnavailable
from mlops.runtimes.docker_engine import Engine, find_engine, translated


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ImageNotFound("404", explanation="No such image: x:1"), ImageUnavailable),
        (APIError("500", explanation="mkdir /var: no space left on device"), DiskFull),
        (APIError("400", explanation="bind source path does not exist: /x"), RuntimeUnavailable),
        (APIError("500", explanation="something odd"), JobError),
        (requests.ConnectionError("refused"), RuntimeUnavailable),
        (requests.ReadTimeout("timed out"), RuntimeUnavailable),
        (BrokenPipeError(32, "Broken pipe"), RuntimeUnavailable),
    ],
)
def test_each_error_has_its_kind(error: Exception, kind: type[MlopsError]) -> None:
    with pytest.raises(kind, match="It cannot be done") as caught, translated("It cannot be done"):
        raise error
    assert caught.value.__cause__ is error


def test_defects_are_no_errors_of_the_engines() -> None:
    with pytest.raises(KeyError), translated("It cannot be done"):
        raise KeyError("State")


def engine(info: dict[str, Any], bridge: list[dict[str, str]] | None = None) -> Engine:
    client = SimpleNamespace(
        info=lambda: info, inspect_network=lambda name: {"IPAM": {"Config": bridge}}
    )
    return Engine(client, "unix:///docker.sock")


def test_what_the_engine_is() -> None:
    plain = engine({"ServerVersion": "28.0", "SecurityOptions": ["name=seccomp,profile=default"]})
    assert not any((plain.desktop, plain.rootless, plain.remaps_users, plain.labels_files))
    assert engine({"SecurityOptions": ["name=rootless"]}).rootless
    assert engine({"SecurityOptions": ["name=userns"]}).remaps_users
    assert engine({"SecurityOptions": ["name=selinux"]}).labels_files
    assert engine({"OperatingSystem": "Docker Desktop"}).desktop


@pytest.mark.parametrize(
    ("info", "bridge", "address"),
    [
        ({}, [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}], "172.17.0.9"),
        ({}, [{"Subnet": "172.18.0.0/16"}], "172.18.0.1"),
        ({"OperatingSystem": "Docker Desktop"}, None, "host.docker.internal"),
    ],
)
def test_where_a_container_reaches_the_host(
    info: dict[str, Any], bridge: list[dict[str, str]] | None, address: str
) -> None:
    assert engine(info, bridge).gateway_host == address


def test_an_engine_without_a_bridge() -> None:
    with pytest.raises(RuntimeUnavailable, match="bridge"):
        engine({}, None).gateway_host  # noqa: B018 - it raises


@pytest.mark.parametrize("host", ["unix:///nowhere.sock", "tcp://127.0.0.1:1", "nonsense://x"])
def test_no_engine_says_for_each_place_why(host: str) -> None:
    with pytest.raises(RuntimeUnavailable) as caught:
        find_engine({"DOCKER_HOST": host})
    assert host.partition("//")[2] in str(caught.value)
    assert caught.value.next_step
