"""Archives and walks over what a job left: order, links, nothing of the host."""

from __future__ import annotations

import os
import socket
import tarfile
from pathlib import Path

import pytest

from mlops.execution.archives import UnsafeLink, pack, walk_files

FILTER = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # since Python 3.11.4


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A job's ``/opt/ml`` with a model and, outside of it, a file of the host."""
    model = tmp_path / "ml" / "model"
    (model / "1").mkdir(parents=True)
    (model / "1" / "weights").write_text("w")
    (model / "b.json").write_text("{}")
    (tmp_path / "host").write_text("secret")
    return tmp_path / "ml"


def members(base: Path) -> dict[str, tarfile.TarInfo]:
    archive = base.parent / "model.tar.gz"
    pack(base / "model", base, archive)
    with tarfile.open(archive) as tar:
        return {member.name: member for member in tar}


def unpacked(base: Path, tmp_path: Path) -> Path:
    archive, target = base.parent / "model.tar.gz", tmp_path / "unpacked"
    pack(base / "model", base, archive)
    with tarfile.open(archive) as tar:
        tar.extractall(target, **FILTER)  # type: ignore[arg-type]
    return target


def test_members_are_the_folders_contents_in_order(base: Path) -> None:
    (base / "model" / "a").write_text("")
    found = members(base)
    assert list(found) == ["1", "1/weights", "a", "b.json"]
    assert {(member.uid, member.gid, member.uname) for member in found.values()} == {(0, 0, "")}


def test_the_same_files_give_the_same_archive(base: Path) -> None:
    archives = []
    for name in ("one", "two"):
        pack(base / "model", base, base.parent / name)
        archives.append((base.parent / name).read_bytes())
    assert archives[0] == archives[1]


def test_nothing_gives_an_empty_archive(base: Path) -> None:
    pack(base / "nothing", base, base.parent / "empty.tar.gz")
    with tarfile.open(base.parent / "empty.tar.gz") as tar:
        assert tar.getnames() == []


@pytest.mark.parametrize("target", ["1/weights", "/opt/ml/model/1/weights"])
def test_a_link_within_the_folder_stays_a_link(base: Path, tmp_path: Path, target: str) -> None:
    (base / "model" / "best").symlink_to(target)
    assert members(base)["best"].linkname == "1/weights"
    assert (unpacked(base, tmp_path) / "best").read_text() == "w"


def test_a_link_elsewhere_below_opt_ml_becomes_what_it_points_to(
    base: Path, tmp_path: Path
) -> None:
    checkpoint = base / "checkpoints" / "7"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_text("seven")
    (base / "model" / "folder").symlink_to("/opt/ml/checkpoints/7")
    (base / "model" / "file").symlink_to("../checkpoints/7/weights")
    target = unpacked(base, tmp_path)
    assert (target / "folder" / "weights").read_text() == "seven"
    assert (target / "file").read_text() == "seven"
    assert not (target / "file").is_symlink()


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/etc/hostname", "not below /opt/ml"),
        ("../../host", "not below /opt/ml"),
        ("/opt/ml/../../etc/hostname", "not there"),
        ("nowhere", "not there"),
        ("self", "not there"),
    ],
)
def test_a_link_that_leads_out_is_refused(base: Path, target: str, words: str) -> None:
    (base / "model" / "self").symlink_to(target)
    with pytest.raises(UnsafeLink, match=words):
        members(base)
    with pytest.raises(UnsafeLink, match=words):
        list(walk_files(base / "model", base))


def test_a_folder_replaced_by_a_link_is_refused(base: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (base / "out").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeLink, match="out of /opt/ml"):
        list(walk_files(base / "out", base))
    with pytest.raises(UnsafeLink, match="out of /opt/ml"):
        pack(base / "out", base, tmp_path / "x.tar.gz")


def test_a_circle_of_links_is_refused(base: Path) -> None:
    (base / "model" / "1" / "up").symlink_to("..")
    with pytest.raises(UnsafeLink, match="a folder that holds it"):
        list(walk_files(base / "model", base))


def test_a_walk_names_files_and_tells_links(base: Path) -> None:
    (base / "model" / "again").symlink_to("b.json")
    (base / "model" / "one").symlink_to("1")
    found = [(each.name, each.linked) for each in walk_files(base / "model", base)]
    assert found == [
        ("1/weights", False),
        ("again", True),
        ("b.json", False),
        ("one/weights", True),
    ]


def test_pipes_and_sockets_hold_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(base / "model" / "pipe")
    monkeypatch.chdir(base / "model")  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert set(members(base)) == {"1", "1/weights", "b.json"}
        assert [each.name for each in walk_files(base / "model", base)] == ["1/weights", "b.json"]


def test_names_of_any_bytes_are_kept(base: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x98\x80")
    (base / "model" / name).write_text("x")
    assert (unpacked(base, tmp_path) / name).read_text() == "x"
