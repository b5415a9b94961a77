"""A model's files on their way into a server's folder: what is placed, and what is refused."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlops.errors import DiskFull
from mlops.hosting import artifacts, tar_members
from mlops.hosting.artifacts import BadModelData, place_model
from mlops.hosting.plan import ModelData
from mlops.stores.objects.memory import MemoryObjectStore

Fill = Callable[[tarfile.TarFile], None]


def archive(fill: Fill, mode: str = "w:gz") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as tar:  # type: ignore[call-overload]  # the mode is a test's
        fill(tar)
    return made.getvalue()


def add(tar: tarfile.TarFile, name: str, content: bytes = b"x", **more: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in more.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content) if member.isreg() else None)


@pytest.fixture
def objects() -> MemoryObjectStore:
    store = MemoryObjectStore()
    store.create_bucket("bucket")
    return store


@pytest.fixture(params=["tarfile's filter", "our own rules"])
def place(
    objects: MemoryObjectStore,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Fill], Path]:
    """Put an archive in place; the model's folder. By tarfile's own filter, and by our rules."""
    if request.param == "our own rules":
        monkeypatch.setattr(tar_members, "_HAS_FILTER", False)
    elif not hasattr(tarfile, "data_filter"):
        pytest.skip("this Python's tarfile has no filter")

    def placed(fill: Fill) -> Path:
        objects.put("bucket", "model.tar.gz", archive(fill))
        folder = tmp_path / "server/ml/model"
        place_model(objects, ModelData("s3://bucket/model.tar.gz", "archive"), folder)
        return folder

    return placed


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2", "w:xz"])
def test_an_archive_is_unpacked(objects: MemoryObjectStore, tmp_path: Path, mode: str) -> None:
    objects.put("bucket", "k", archive(lambda tar: add(tar, "1/saved_model.pb", b"pb"), mode))
    place_model(objects, ModelData("s3://bucket/k", "archive"), tmp_path / "model")
    assert files(tmp_path / "model") == {"1/saved_model.pb": b"pb"}


def test_without_data_the_folder_is_empty(objects: MemoryObjectStore, tmp_path: Path) -> None:
    place_model(objects, None, tmp_path / "model")
    assert files(tmp_path / "model") == {}


def test_an_object_and_a_prefix(objects: MemoryObjectStore, tmp_path: Path) -> None:
    for key in ("m/1/a", "m/1/sub/b", "m/", "mm/c"):
        objects.put("bucket", key, key.encode())
    place_model(objects, ModelData("s3://bucket/m/1/a", "object"), tmp_path / "one")
    place_model(objects, ModelData("s3://bucket/m", "prefix"), tmp_path / "all")
    assert files(tmp_path / "one") == {"a": b"m/1/a"}
    assert files(tmp_path / "all") == {"1/a": b"m/1/a", "1/sub/b": b"m/1/sub/b"}


def test_a_link_within_the_model_stays(place: Callable[[Fill], Path]) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "1/weights", b"w")
        add(tar, "latest", type=tarfile.SYMTYPE, linkname="1")

    folder = place(fill)
    assert (folder / "latest/weights").read_bytes() == b"w"


EVIL: list[tuple[str, dict[str, object]]] = [
    ("../outside", {}),
    ("a/../../outside", {}),
    ("link", {"type": tarfile.SYMTYPE, "linkname": "../../outside"}),
    ("link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
    ("link", {"type": tarfile.LNKTYPE, "linkname": "../outside"}),
    ("pipe", {"type": tarfile.FIFOTYPE}),
    ("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
]


@pytest.mark.parametrize(("name", "more"), EVIL)
def test_nothing_leaves_the_models_folder(
    place: Callable[[Fill], Path], tmp_path: Path, name: str, more: dict[str, object]
) -> None:
    (tmp_path / "server/ml").mkdir(parents=True)
    (tmp_path / "server/ml/outside").write_text("untouched")
    with pytest.raises(BadModelData, match=r"s3://bucket/model\.tar\.gz"):
        place(lambda tar: add(tar, name, b"" if more else b"evil", **more))
    assert (tmp_path / "server/ml/outside").read_text() == "untouched"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["server"]


def test_writing_through_a_link_leads_nowhere(
    place: Callable[[Fill], Path], tmp_path: Path
) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "door", type=tarfile.SYMTYPE, linkname=str(tmp_path))
        add(tar, "door/evil", b"evil")

    with pytest.raises(BadModelData):
        place(fill)
    assert not (tmp_path / "evil").exists()


def test_an_absolute_path_is_taken_as_one_below_the_folder(place: Callable[[Fill], Path]) -> None:
    folder = place(lambda tar: add(tar, "/1/a", b"x"))
    assert files(folder) == {"1/a": b"x"}


def test_set_uid_bits_are_dropped(place: Callable[[Fill], Path]) -> None:
    folder = place(lambda tar: add(tar, "tool", b"x", mode=0o6777))
    assert (folder / "tool").stat().st_mode & 0o7022 == 0


def test_what_cannot_be_read_stays_readable_and_belongs_to_us(
    place: Callable[[Fill], Path],
) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        add(tar, "1", b"", type=tarfile.DIRTYPE, mode=0o755)
        add(tar, "1/a", b"x", mode=0o000, uid=12345, gid=12345)

    folder = place(fill)
    status = (folder / "1/a").stat()
    assert status.st_mode & 0o777 == 0o600
    assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def test_a_bomb_is_refused_before_it_is_written(objects: MemoryObjectStore, tmp_path: Path) -> None:
    # The head alone says how large the member is; what follows is never reached.
    head = tarfile.TarInfo("1/weights")
    head.size = 100 * 2**40
    objects.put("bucket", "bomb", head.tobuf(tarfile.GNU_FORMAT) + bytes(512))
    with pytest.raises(DiskFull, match="no room to unpack the model data s3://bucket/bomb"):
        place_model(objects, ModelData("s3://bucket/bomb", "archive"), tmp_path / "model")
    assert files(tmp_path / "model") == {}


def test_a_swarm_of_files_is_refused(
    place: Callable[[Fill], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MOST_FILES", 10)
    with pytest.raises(BadModelData, match="more than 10 files"):
        place(lambda tar: [add(tar, str(number)) for number in range(11)] and None)


@pytest.mark.parametrize("content", [b"", b"no archive at all", os.urandom(3000)])
def test_what_is_no_archive(objects: MemoryObjectStore, tmp_path: Path, content: bytes) -> None:
    objects.put("bucket", "k", content)
    with pytest.raises(BadModelData, match="no sound tar"):
        place_model(objects, ModelData("s3://bucket/k", "archive"), tmp_path / "model")


@pytest.mark.parametrize("cut", [30, 400, 4000])
def test_an_archive_that_is_cut_off(objects: MemoryObjectStore, tmp_path: Path, cut: int) -> None:
    whole = archive(lambda tar: add(tar, "1/weights", os.urandom(20_000)))
    objects.put("bucket", "k", whole[:-cut])
    with pytest.raises(BadModelData, match="no sound tar"):
        place_model(objects, ModelData("s3://bucket/k", "archive"), tmp_path / "model")


def test_an_archive_with_a_wrong_bit(objects: MemoryObjectStore, tmp_path: Path) -> None:
    whole = bytearray(archive(lambda tar: add(tar, "1/weights", os.urandom(20_000))))
    whole[10_000] ^= 1
    objects.put("bucket", "k", bytes(whole))
    with pytest.raises(BadModelData, match="no sound tar"):
        place_model(objects, ModelData("s3://bucket/k", "archive"), tmp_path / "model")


@pytest.mark.parametrize(
    "data",
    [
        ModelData("s3://bucket/none.tar.gz", "archive"),
        ModelData("s3://none/model.tar.gz", "archive"),
        ModelData("s3://bucket/none", "object"),
        ModelData("s3://bucket/none", "prefix"),
    ],
)
def test_data_that_is_not_there(
    objects: MemoryObjectStore, tmp_path: Path, data: ModelData
) -> None:
    with pytest.raises(BadModelData, match=f"Could not find model data at {data.uri}"):
        place_model(objects, data, tmp_path / "model")


def test_an_address_that_is_none(objects: MemoryObjectStore, tmp_path: Path) -> None:
    with pytest.raises(BadModelData, match="no S3 address"):
        place_model(objects, ModelData("http://x/y", "archive"), tmp_path / "model")
