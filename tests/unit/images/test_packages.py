"""How a build gets at packages: pip's configuration, certificates, proxies."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

import pytest

from mlops.errors import EnvironmentLacks
from mlops.images.packages import (
    PackageAccess,
    certificates,
    package_access,
    parse_pip_options,
    proxies,
    write_options,
)

LISTED = """\
:env:.default-timeout='180'
:env:.index-url='https://user:secret@packages.example/simple'
global.cert='/etc/company.crt'
global.extra-index-url='\\nhttps://one.example/simple\\nhttps://two.example/simple'
global.index-url='https://overridden.example/simple'
install.trusted-host='packages.example'
list.format='columns'
"""


def test_variables_win_over_install_and_install_over_global() -> None:
    options = parse_pip_options(LISTED + "global.trusted-host='other'\n")
    assert options["index-url"] == "https://user:secret@packages.example/simple"
    assert options["trusted-host"] == "packages.example"
    assert options["timeout"] == "180"
    assert "format" not in options


def test_a_pip_conf_that_pip_would_read_the_same() -> None:
    written = configparser.RawConfigParser()
    written.read_string(write_options(parse_pip_options(LISTED)))
    assert written["global"]["extra-index-url"].split() == [
        "https://one.example/simple",
        "https://two.example/simple",
    ]
    assert "cert" not in written["global"]  # a path of this machine


def test_folders_of_this_machine_are_left_out() -> None:
    assert write_options({"find-links": "/opt/wheels"}) == ""
    both = write_options({"find-links": "/opt/wheels https://wheels.example/"})
    assert "https://wheels.example/" in both
    assert "/opt/wheels" not in both


def test_the_machines_own_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://packages.example/simple\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")}
    access = package_access({**kept, "PIP_CONFIG_FILE": str(tmp_path / "pip.conf")})
    assert access.first_hop == "https://packages.example/simple"
    assert "pip.conf" in access.context_files()


def test_certificates_as_told_else_the_systems(tmp_path: Path) -> None:
    told = tmp_path / "told.crt"
    told.write_text("x")
    assert certificates({}, {"SSL_CERT_FILE": "/none", "PIP_CERT": str(told)}) == told
    assert certificates({"cert": str(told)}, {}) == told
    system = certificates({}, {})
    assert system is None or system.is_file()


def test_certificates_that_are_not_there_are_named() -> None:
    with pytest.raises(EnvironmentLacks, match="PIP_CERT names a file") as told:
        certificates({}, {"PIP_CERT": "/no/such.crt"})
    assert told.value.where == "/no/such.crt"


def test_proxies_are_handed_on_in_both_spellings() -> None:
    assert proxies({"HTTPS_PROXY": "http://proxy:3128"}) == {
        "https_proxy": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3128",
    }


@pytest.mark.parametrize(
    ("pip_conf", "proxy", "hop", "only_here"),
    [
        ("", None, None, False),
        ("[global]\nindex-url = https://p.example/\n", None, "https://p.example/", False),
        ("[global]\nindex-url = http://localhost:1/\n", None, "http://localhost:1/", True),
        ("", "127.0.0.1:3128", "http://127.0.0.1:3128", True),
        ("[global]\nproxy = http://proxy:1\n", "http://other:2", "http://proxy:1", False),
    ],
)
def test_the_first_hop(pip_conf: str, proxy: str | None, hop: str | None, only_here: bool) -> None:
    access = PackageAccess(pip_conf, proxies={"https_proxy": proxy} if proxy else {})
    assert access.first_hop == hop
    assert access.only_from_this_host is only_here
