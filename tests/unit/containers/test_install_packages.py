"""What an image's build decides to install over its base."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[3] / "containers" / "install_packages.py"


@pytest.fixture(scope="module")
def installer() -> Any:
    spec = importlib.util.spec_from_file_location("install_packages", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_base_can_import_is_left_out(
    installer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    requirements = """
    # a comment
    tensorflow-cpu==2.19.*; platform_machine == "x86_64"  # provides json
    needed==1.0   # provides no_such_module
    plain
    """
    assert installer.missing(requirements) == ["needed==1.0", "plain"]
    assert "tensorflow-cpu==2.19.*" in capsys.readouterr().out


def test_the_base_keeps_its_versions_and_the_rest_gets_the_pins(installer: Any) -> None:
    pins = ["numpy==2.1.3", "Typing_Extensions==4.0 ; python_version < '4'", "", "keras==3.15.1"]
    installed = {"numpy": "1.26.4", "typing-extensions": "4.12.0"}
    assert installer.constraints(pins, installed) == [
        "keras==3.15.1",
        "numpy==1.26.4",
        "typing-extensions==4.12.0",
    ]


def test_what_no_job_runs_is_removed(installer: Any, tmp_path: Path) -> None:
    packages = tmp_path / "usr" / "local" / "lib" / "python3.11" / "dist-packages"
    kept = ("numpy/core.py", "numpy/testing/x.py", "mine/tests/x.py", "tensorflow/python/x.py")
    gone = ("numpy/tests/x.py", "numpy/linalg/tests/x.py", "tensorflow/include/a/b.h")
    for name in (*kept, *gone):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("")
    installer.trim(tmp_path)
    left = {f.relative_to(packages).as_posix() for f in packages.rglob("*") if f.is_file()}
    assert left == set(kept)


def test_a_base_with_python3_only_gets_the_name_python(
    installer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    installer.link_python(tmp_path / "root")
    assert (tmp_path / "root/usr/local/bin/python").is_symlink()
    (tmp_path / "python").write_text("")
    installer.link_python(tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_certificates_of_the_base_and_of_the_machine_are_trusted(
    installer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "HERE", tmp_path)
    assert "PIP_CONFIG_FILE" not in installer.pip_environment()
    (tmp_path / "ca-bundle.crt").write_text("COMPANY")
    (tmp_path / "pip.conf").write_text("[global]\n")
    environment = installer.pip_environment()
    trusted = Path(environment["PIP_CERT"]).read_text()
    assert "BEGIN CERTIFICATE" in trusted
    assert trusted.endswith("COMPANY")
    assert environment["PIP_CONFIG_FILE"] == str(tmp_path / "pip.conf")
