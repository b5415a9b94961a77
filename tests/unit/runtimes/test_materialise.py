"""Mounts as copies and links."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.ports import Mount, MountMode
from mlops.runtimes.materialise import copy_file, dematerialise, materialise

READ_ONLY, READ_WRITE, COPY_ON_WRITE = MountMode


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").write_text("content")
    (folder / "link").symlink_to("sub/file")
    (folder / "dangling").symlink_to("nowhere")
    return folder


@pytest.mark.parametrize("mode", [READ_ONLY, COPY_ON_WRITE])
def test_a_copy_is_the_jobs_own(tmp_path: Path, source: Path, mode: MountMode) -> None:
    materialise(tmp_path / "ml", [Mount(source, "/opt/ml/in", mode)])
    copy = tmp_path / "ml/in"
    assert (copy / "sub/file").read_text() == "content"
    assert (copy / "link").readlink() == Path("sub/file")
    (copy / "sub/file").write_text("changed")
    assert (source / "sub/file").read_text() == "content"


def test_read_write_is_the_source_itself(tmp_path: Path, source: Path) -> None:
    mounts = [Mount(source, "/opt/ml/in", READ_WRITE)]
    materialise(tmp_path / "ml", mounts)
    (tmp_path / "ml/in/new").write_text("new")
    dematerialise(tmp_path / "ml", mounts)
    assert (source / "new").read_text() == "new"


def test_an_empty_mount_point_is_left(tmp_path: Path, source: Path) -> None:
    mounts = [
        Mount(source, "/opt/ml/in", COPY_ON_WRITE),
        Mount(source / "sub/file", "/opt/ml/one/file", READ_ONLY),
        Mount(source, "/opt/ml/in/sub", READ_ONLY),
        Mount(source, "/opt/ml/through", READ_WRITE),
    ]
    materialise(tmp_path / "ml", mounts)
    dematerialise(tmp_path / "ml", mounts)
    left = {
        str(path.relative_to(tmp_path / "ml")): path.is_dir()
        for path in (tmp_path / "ml").rglob("*")
    }
    assert left == {"in": True, "one": True, "one/file": False, "through": True}
    assert (tmp_path / "ml/one/file").read_bytes() == b""
    assert (source / "sub/file").read_text() == "content"


def test_a_job_that_removed_its_input_leaves_a_mount_point_too(
    tmp_path: Path, source: Path
) -> None:
    mounts = [Mount(source / "sub/file", "/opt/ml/one/file", COPY_ON_WRITE)]
    materialise(tmp_path / "ml", mounts)
    (tmp_path / "ml/one/file").unlink()
    (tmp_path / "ml/one").rmdir()
    dematerialise(tmp_path / "ml", mounts)
    assert (tmp_path / "ml/one/file").is_file()


def test_a_copied_file_keeps_its_time_and_can_be_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    file.chmod(0o444)
    copy = Path(copy_file(file, tmp_path / "copy"))
    assert copy.read_bytes() == file.read_bytes()
    assert copy.stat().st_mtime == file.stat().st_mtime
    assert copy.stat().st_mode & 0o777 == 0o644
