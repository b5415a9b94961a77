"""What jobs inherit of the caller's environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.runtimes.passed_on import container_network, network_environment, pip_configuration

HOST = {
    "AWS_SECRET_ACCESS_KEY": "secret",
    "HOME": "/home/me",
    "LD_PRELOAD": "x.so",
    "PIP_INDEX_URL": "https://index.example/simple",
    "PYTHONPATH": "/mine",
    "SSL_CERT_FILE": "/etc/ssl/mine.pem",
    "SM_MODEL_DIR": "/mine",
}


def test_certificates_and_indexes_pass_and_nothing_else() -> None:
    assert network_environment(HOST, "127.0.0.1") == {
        "PIP_INDEX_URL": "https://index.example/simple",
        "SSL_CERT_FILE": "/etc/ssl/mine.pem",
    }


@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_no_proxy_stands_before_the_gateway(name: str) -> None:
    passed = network_environment(
        {"https_proxy": "http://proxy.example:3128", name: ".corp.example"}, "172.17.0.1"
    )
    assert passed["https_proxy"] == "http://proxy.example:3128"
    for written in ("no_proxy", "NO_PROXY"):
        assert passed[written] == ".corp.example,localhost,127.0.0.1,172.17.0.1"


def test_pips_own_configuration_is_named(tmp_path: Path) -> None:
    assert pip_configuration({"HOME": str(tmp_path)}) == {}
    file = tmp_path / ".config/pip/pip.conf"
    file.parent.mkdir(parents=True)
    file.touch()
    assert pip_configuration({"HOME": str(tmp_path)}) == {"PIP_CONFIG_FILE": str(file)}
    assert pip_configuration({"PIP_CONFIG_FILE": "/x", "HOME": str(tmp_path)}) == {
        "PIP_CONFIG_FILE": "/x"
    }
    other = {"XDG_CONFIG_HOME": str(tmp_path / "other"), "HOME": str(tmp_path)}
    assert pip_configuration(other) == {}


def test_a_container_gets_files_instead_of_the_hosts_paths(tmp_path: Path) -> None:
    bundle = tmp_path / "mine.pem"
    bundle.touch()
    (tmp_path / "link.pem").symlink_to(bundle)
    variables, files = container_network(
        {
            "HOME": str(tmp_path),
            "SSL_CERT_FILE": str(bundle),
            "PIP_CERT": str(tmp_path / "link.pem"),
            "SSL_CERT_DIR": str(tmp_path),
            "PIP_INDEX_URL": "https://index.example/simple",
            "PIP_FIND_LINKS": "/opt/wheels",
        },
        "172.17.0.1",
    )
    target = variables["SSL_CERT_FILE"]
    assert files == [(bundle, target)]
    assert variables == {
        "SSL_CERT_FILE": target,
        "PIP_CERT": target,
        "PIP_INDEX_URL": "https://index.example/simple",
    }


def test_a_proxy_on_the_hosts_loopback_means_nothing_in_a_container() -> None:
    variables, files = container_network(
        {"http_proxy": "http://127.0.0.1:3128", "https_proxy": "http://p.example:1"}, "172.17.0.1"
    )
    assert "http_proxy" not in variables
    assert variables["https_proxy"] == "http://p.example:1"
    assert "172.17.0.1" in variables["no_proxy"]
    assert files == []
