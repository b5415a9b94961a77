"""Mounts in the engine's own terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.ports import Mount, MountMode
from mlops.runtimes.docker_mounts import docker_mounts

READ_ONLY, READ_WRITE, COPY_ON_WRITE = MountMode
TARGET = "/opt/ml/input/data/x"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "odd, name:with\\all"
    folder.mkdir()
    (folder / "a").write_text("a")
    return folder


def test_the_jobs_folder_is_opt_ml(tmp_path: Path) -> None:
    (bind,) = docker_mounts(tmp_path, (), tmp_path / "scratch", overlay=True)
    assert bind == {
        "Type": "bind",
        "Source": str(tmp_path),
        "Target": "/opt/ml",
        "ReadOnly": False,
    }
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize(("mode", "read_only"), [(READ_ONLY, True), (READ_WRITE, False)])
def test_plain_modes_bind_the_source(
    tmp_path: Path, source: Path, mode: MountMode, read_only: bool
) -> None:
    _, bind = docker_mounts(tmp_path, (Mount(source, TARGET, mode),), tmp_path / "s", overlay=True)
    assert (bind["Source"], bind["ReadOnly"]) == (str(source), read_only)


def test_copy_on_write_is_an_overlay_whose_options_have_no_odd_character(
    tmp_path: Path, source: Path
) -> None:
    mounts = (Mount(source, TARGET, COPY_ON_WRITE),)
    _, volume = docker_mounts(tmp_path, mounts, tmp_path / "scratch", overlay=True)
    driver = volume["VolumeOptions"]["DriverConfig"]
    options = dict(option.partition("=")[::2] for option in driver["Options"]["o"].split(","))
    assert volume["Type"] == "volume"
    assert driver["Options"]["type"] == "overlay"
    assert Path(options["lowerdir"]).resolve() == source
    assert Path(options["upperdir"]).is_dir()
    assert Path(options["workdir"]).is_dir()


@pytest.mark.parametrize(("scratch", "overlay"), [("scratch", False), ("a,b", True), ("a:b", True)])
def test_without_an_overlay_it_is_a_copy(
    tmp_path: Path, source: Path, scratch: str, overlay: bool
) -> None:
    mounts = (Mount(source, TARGET, COPY_ON_WRITE), Mount(source / "a", TARGET, COPY_ON_WRITE))
    _, folder, file = docker_mounts(tmp_path, mounts, tmp_path / scratch, overlay=overlay)
    for bind in (folder, file):
        assert bind["Type"] == "bind"
        assert Path(bind["Source"]).is_relative_to(tmp_path / scratch)
    assert (Path(folder["Source"]) / "a").read_text() == "a"
    assert Path(file["Source"]).read_text() == "a"
