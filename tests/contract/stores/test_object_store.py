"""What every implementation of the ObjectStore port does."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops.errors import InvalidKey, NoSuchBucket, NoSuchKey, StoreError
from mlops.ports import ObjectStore
from mlops.stores.objects import FileObjectStore, MemoryObjectStore

BUCKET = "data-us-east-1"

AWKWARD_KEYS = [
    "a",
    "a/b",
    "a/b/c",
    "a-b",
    "trailing/",
    "trailing//",
    "/leading",
    ".",
    "..",
    "../../escape",
    "x/../y",
    "x/./y",
    "sp ace/ü/日本 +%20.txt",
    "%~marker",
    "%=marker",
    "%+marker",
    "nul\0and\ncontrol\x01",
    'back\\slash:colon*?"<>|',
    "Case",
    "case",
    "é",
    "e\u0301",
    "long/" + "y" * 255,
    "long/" + "y" * 256,
    "long/" + "y" * 256 + "/below",
    "long/" + "y" * 80,
    "long/" + "y" * 81,
    "long/" + "日" * 200,
    "z" * 1024,
    "\U0001f600",
    "\uffff",
]


@pytest.fixture(params=["files", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ObjectStore]:
    if request.param == "memory":
        made: ObjectStore = MemoryObjectStore()
        made.create_bucket(BUCKET)
        yield made
        return
    files = FileObjectStore(tmp_path / "objects")
    files.create_bucket(BUCKET)
    yield files
    files.close()


def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key for info in store.list(BUCKET, prefix)]


def test_an_object_comes_back_with_its_head(store: ObjectStore) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    put = store.put(BUCKET, "k", b"hello", content_type="text/csv", metadata={"run": "7"})
    head = store.head(BUCKET, "k")
    assert head == put
    assert (head.size, head.content_type, dict(head.metadata)) == (5, "text/csv", {"run": "7"})
    assert head.etag == hashlib.md5(b"hello").hexdigest()
    assert before <= head.last_modified <= datetime.now(UTC) + timedelta(seconds=1)
    with store.open(BUCKET, "k") as file:
        assert file.read() == b"hello"


def test_defaults_are_those_of_s3(store: ObjectStore) -> None:
    head = store.put(BUCKET, "k", io.BytesIO(b""))
    assert (head.size, head.content_type, dict(head.metadata)) == (0, "binary/octet-stream", {})


@pytest.mark.parametrize("key", AWKWARD_KEYS)
def test_any_key_is_kept(store: ObjectStore, key: str) -> None:
    store.put(BUCKET, key, key.encode())
    assert keys(store) == [key]
    assert store.open(BUCKET, key).read() == key.encode()
    assert store.file_of(BUCKET, key).read_bytes() == key.encode()
    store.delete(BUCKET, key)
    assert keys(store) == []


def test_all_keys_live_side_by_side_in_the_order_of_their_bytes(store: ObjectStore) -> None:
    for key in reversed(AWKWARD_KEYS):
        store.put(BUCKET, key, key.encode())
    assert keys(store) == sorted(AWKWARD_KEYS, key=str.encode)
    for key in AWKWARD_KEYS:
        assert store.open(BUCKET, key).read() == key.encode()
    for prefix in ("a", "a/", "long/", "long/" + "y" * 256, "x/.", "", "none"):
        wanted = [key for key in AWKWARD_KEYS if key.startswith(prefix)]
        assert keys(store, prefix) == sorted(wanted, key=str.encode)


@pytest.mark.parametrize("key", ["", "x" * 1025, "é" * 513, "\udcff", "a/\ud800"])
def test_what_is_no_key_is_refused(store: ObjectStore, key: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    for call in (
        lambda: store.put(BUCKET, key, b""),
        lambda: store.head(BUCKET, key),
        lambda: store.open(BUCKET, key),
        lambda: store.delete(BUCKET, key),
        lambda: store.file_of(BUCKET, key),
        lambda: store.adopt(BUCKET, key, file),
    ):
        with pytest.raises(InvalidKey):
            call()
    assert file.exists()


@pytest.mark.parametrize(
    "bucket",
    ["", "ab", "..", ".meta", "a/b", "../etc", "Upper", "a" * 64, "a..b", "-ab", "10.0.0.1", "a_b"],
)
def test_what_is_no_bucket_name_is_refused(store: ObjectStore, bucket: str) -> None:
    for call in (
        lambda: store.create_bucket(bucket),
        lambda: store.put(bucket, "k", b""),
        lambda: store.list(bucket),
        lambda: store.folder_of(bucket, ""),
    ):
        with pytest.raises(InvalidKey):
            call()


def test_a_missing_bucket_and_a_missing_key_say_so(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for call in (
        lambda: store.put("missing", "k", b""),
        lambda: store.adopt("missing", "k", file),
        lambda: store.head("missing", "k"),
        lambda: store.list("missing"),
        lambda: store.folder_of("missing", "k"),
        lambda: store.delete("missing", "k"),
    ):
        with pytest.raises(NoSuchBucket):
            call()
    for call in (
        lambda: store.head(BUCKET, "k"),
        lambda: store.open(BUCKET, "k"),
        lambda: store.file_of(BUCKET, "k"),
    ):
        with pytest.raises(NoSuchKey):
            call()
    assert file.exists()


def test_creating_a_bucket_again_keeps_what_is_in_it(store: ObjectStore) -> None:
    store.put(BUCKET, "k", b"1")
    store.create_bucket(BUCKET)
    assert keys(store) == ["k"]


def test_a_replaced_object_is_read_to_its_end(store: ObjectStore) -> None:
    store.put(BUCKET, "k", b"old" * 1000)
    with store.open(BUCKET, "k") as file:
        assert file.read(3) == b"old"
        store.put(BUCKET, "k", b"new" * 1000)
        assert file.read() == b"old" * 999
    store.delete(BUCKET, "k")
    store.delete(BUCKET, "k")  # as in S3, no error
    with pytest.raises(NoSuchKey):
        store.head(BUCKET, "k")


def test_adopting_takes_the_file_away(store: ObjectStore, tmp_path: Path) -> None:
    file = tmp_path / "model.tar.gz"
    file.write_bytes(b"model")
    info = store.adopt(BUCKET, "runs/1/model.tar.gz", file)
    assert not file.exists()
    assert (info.size, info.etag) == (5, hashlib.md5(b"model").hexdigest())
    assert store.head(BUCKET, "runs/1/model.tar.gz") == info


def test_only_regular_files_are_adopted(store: ObjectStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(secret)
    os.mkfifo(pipe)
    for bad in (link, pipe, tmp_path):
        with pytest.raises(StoreError):
            store.adopt(BUCKET, "k", bad)
    assert keys(store) == []
    assert secret.read_bytes() == b"secret"


def test_a_folder_stands_for_a_prefix_when_it_is_exactly_the_same(store: ObjectStore) -> None:
    store.put(BUCKET, "in/train/a.csv", b"1")
    store.put(BUCKET, "in/train/sub/b.csv", b"2")
    store.put(BUCKET, "in/other.csv", b"3")
    for prefix in ("in/train", "in/train/"):
        folder = store.folder_of(BUCKET, prefix)
        assert folder is not None
        found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.csv")}
        assert found == {"a.csv": b"1", "sub/b.csv": b"2"}
    whole = store.folder_of(BUCKET, "")
    assert whole is not None
    assert (whole / "in/other.csv").read_bytes() == b"3"


@pytest.mark.parametrize(
    ("present", "prefix"),
    [
        (["in/a"], "in/a"),  # an object itself
        (["in/abc"], "in/ab"),  # cuts through a name
        (["in/a", "in/a/b"], "in/a"),  # an object and a folder: it stands for both
        (["in/", "in/a"], "in"),  # the folder's marker has no file of its own name
        (["in/x/../y", "in/a"], "in"),
        (["in/a", "in/a/b"], "in/"),  # a and a/b cannot lie in one folder
        (["other"], "in"),  # nothing there
        (["in/../y"], "in/.."),
        (["in/a", "in.csv"], "in"),  # a sibling begins with it
        (["x/in/a", "x/in2/b"], "x/in"),
    ],
)
def test_no_folder_stands_for_any_other_prefix(
    store: ObjectStore, present: list[str], prefix: str
) -> None:
    for key in present:
        store.put(BUCKET, key, b"")
    assert store.folder_of(BUCKET, prefix) is None


def test_an_object_beside_a_folder_of_its_name_is_not_below_it(store: ObjectStore) -> None:
    store.put(BUCKET, "in", b"object")
    store.put(BUCKET, "in/a", b"below")
    folder = store.folder_of(BUCKET, "in/")
    assert folder is not None
    assert [path.name for path in folder.iterdir()] == ["a"]
