"""Paths below /opt/ml, mount points, and removing what jobs left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mlops.errors import DiskFull, JobError
from mlops.ports import JobSpec, Mount, MountMode
from mlops.runtimes.layout import inside, os_error, prepare, remove_tree


def test_a_path_below_opt_ml() -> None:
    assert inside(Path("/job"), "/opt/ml/input/data/train") == Path("/job/input/data/train")


@pytest.mark.parametrize("path", ["/opt/ml", "/opt/ml/", "/opt", "/opt/ml/../x", "model", "/"])
def test_no_other_path(path: str) -> None:
    with pytest.raises(JobError, match="below /opt/ml"):
        inside(Path("/job"), path)


def spec(folder: Path, *mounts: Mount) -> JobSpec:
    return JobSpec("job", "image", folder / "ml", folder / "logs/step.txt", mounts=mounts)


def test_mount_points_are_made_outer_first(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").touch()
    inner = Mount(source, "/opt/ml/input/data/deep", MountMode.READ_ONLY)
    outer = Mount(source, "/opt/ml/input/data", MountMode.COPY_ON_WRITE)
    file = Mount(source / "file", "/opt/ml/input/model.tar.gz", MountMode.READ_ONLY)
    assert prepare(spec(tmp_path, inner, outer, file)) == (outer, file, inner)
    points = sorted(str(path.relative_to(tmp_path)) for path in (tmp_path / "ml").rglob("*"))
    assert points == ["ml/input", "ml/input/data", "ml/input/model.tar.gz"]
    assert (tmp_path / "logs").is_dir()


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "gone", "/opt/ml/input", MountMode.READ_ONLY)
    with pytest.raises(JobError, match="/opt/ml/input") as caught:
        prepare(spec(tmp_path, mount))
    assert caught.value.where == str(tmp_path / "gone")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_as_such(number: int) -> None:
    error = os_error(OSError(number, "x", "/store/file"), "The job cannot start")
    assert isinstance(error, DiskFull)
    assert error.where == "/store/file"
    assert error.exit_code == 3


def test_other_errors_are_the_jobs() -> None:
    error = os_error(OSError(errno.EACCES, "Permission denied", "/store/file"), "It cannot")
    assert isinstance(error, JobError)
    assert str(error).startswith("It cannot: Permission denied")


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o500, 0o700])
def test_a_locked_tree_is_removed(tmp_path: Path, mode: int) -> None:
    tree = tmp_path / "tree"
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").touch(mode=0o000)
    (tree / "link").symlink_to(tmp_path)
    for folder in ("a/b", "a"):
        (tree / folder).chmod(mode)
    remove_tree(tree)
    assert not tree.exists()
    assert tmp_path.is_dir()


def test_what_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        remove_tree(tmp_path / "nothing")
