"""What plain files make of the object store, beyond the port's contract."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import resource
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.errors import DiskFull, InvalidKey, NoSuchKey, ServiceError, StoreError
from mlops.stores.objects import FileObjectStore
from mlops.stores.objects.model import Attributes, StoredObject, WriteConditions
from mlops.stores.objects.store import VERSIONING
from mlops.stores.objects.tree import BucketTree

BUCKET = "bucket"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "objects"


@pytest.fixture
def store(root: Path) -> Iterator[FileObjectStore]:
    made = FileObjectStore(root)
    made.create_bucket(BUCKET)
    yield made
    made.close()


def keys(store: FileObjectStore) -> list[str]:
    return [info.key for info in store.list(BUCKET)]


def leftovers(root: Path) -> list[Path]:
    """Staged files and unfinished uploads that nobody will ever ask for."""
    meta = root / ".meta"
    return [
        path for name in ("staging", "uploads") for path in (meta / name).rglob("*")
        if path.is_file() and path.suffix != ".lock"
    ]  # fmt: skip


# --- Plain files ---


def test_an_ordinary_key_is_a_plain_file(store: FileObjectStore, root: Path) -> None:
    store.put(BUCKET, "input/train/a b+c%20=ü.csv", b"x")
    assert (root / BUCKET / "input/train/a b+c%20=ü.csv").read_bytes() == b"x"


def test_the_objects_survive_the_instance(store: FileObjectStore, root: Path) -> None:
    put = store.put(BUCKET, "k", b"x", content_type="text/csv", metadata={"a": "b"})
    other = FileObjectStore(root)
    assert other.head(BUCKET, "k") == put
    other.close()


def test_metadata_survives_a_copy_of_the_whole_store(tmp_path: Path) -> None:
    store = FileObjectStore(tmp_path / "original")
    store.create_bucket(BUCKET)
    put = store.put(BUCKET, "k", b"x", content_type="text/csv", metadata={"a": "b"})
    store.close()
    shutil.copytree(tmp_path / "original", tmp_path / "copy", copy_function=shutil.copy2)
    copied = FileObjectStore(tmp_path / "copy")
    assert copied.head(BUCKET, "k") == put
    copied.close()


def test_a_file_that_a_person_drops_in_is_an_object(store: FileObjectStore, root: Path) -> None:
    folder = root / BUCKET / "by" / "hand"
    folder.mkdir(parents=True)
    (folder / "data.csv").write_bytes(b"1,2\n")
    assert keys(store) == ["by/hand/data.csv"]
    head = store.head(BUCKET, "by/hand/data.csv")
    assert (head.size, head.etag) == (4, hashlib.md5(b"1,2\n").hexdigest())
    assert store.open(BUCKET, "by/hand/data.csv").read() == b"1,2\n"
    assert store.folder_of(BUCKET, "by") == root / BUCKET / "by"


def test_an_object_edited_in_place_has_a_new_head(store: FileObjectStore, root: Path) -> None:
    store.put(BUCKET, "k", b"old", content_type="text/csv")
    file = root / BUCKET / "k"
    file.chmod(0o644)
    file.write_bytes(b"new")
    head = store.head(BUCKET, "k")
    assert (head.etag, head.content_type) == (
        hashlib.md5(b"new").hexdigest(),
        "binary/octet-stream",
    )
    assert [info.etag for info in store.list(BUCKET)] == [head.etag]


def test_files_of_objects_have_a_plain_mode(
    store: FileObjectStore, root: Path, tmp_path: Path
) -> None:
    job_output = tmp_path / "output"
    job_output.write_bytes(b"x")
    job_output.chmod(0o6777)
    store.adopt(BUCKET, "adopted", job_output)
    store.put(BUCKET, "put", b"x")
    for key in ("adopted", "put"):
        mode = stat.S_IMODE((root / BUCKET / key).stat().st_mode)
        assert mode & 0o7133 == 0
        assert mode & 0o600 == 0o600  # a job may write into its own copy, whoever runs it


def test_what_is_not_an_object_is_not_seen(store: FileObjectStore, root: Path) -> None:
    folder = root / BUCKET
    (folder / "empty" / "nested").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "%~abc").write_bytes(b"the scheme writes no such name")
    (folder / "%=folder").mkdir()
    Path(os.fsdecode(bytes(folder) + b"/latin-\xe9")).write_bytes(b"x")
    assert keys(store) == []
    assert list(store.list_objects(BUCKET, collapse=True)) == []
    for key in ("pipe", "empty", "abc", "%~abc"):
        with pytest.raises(NoSuchKey):
            store.head(BUCKET, key)


def test_symbolic_links_lead_nowhere(store: FileObjectStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / BUCKET / "link").symlink_to(outside / "secret")
    (root / BUCKET / "folder").symlink_to(outside)
    assert keys(store) == []
    for key in ("link", "folder/secret"):
        with pytest.raises(NoSuchKey):
            store.open(BUCKET, key)
        with pytest.raises(NoSuchKey):
            store.file_of(BUCKET, key)
        store.delete(BUCKET, key)
    assert store.folder_of(BUCKET, "folder") is None
    assert store.folder_of(BUCKET, "") is None
    with pytest.raises(InvalidKey):
        store.put(BUCKET, "folder/new", b"x")
    store.put(BUCKET, "link", b"mine")
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_file_with_other_names_is_copied_when_adopted(
    store: FileObjectStore, tmp_path: Path
) -> None:
    file, other = tmp_path / "file", tmp_path / "other"
    file.write_bytes(b"before")
    other.hardlink_to(file)
    store.adopt(BUCKET, "k", file)
    other.write_bytes(b"after!")
    assert store.open(BUCKET, "k").read() == b"before"
    assert not file.exists()


def test_adopting_renames(store: FileObjectStore, root: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    inode = file.stat().st_ino
    store.adopt(BUCKET, "k", file)
    assert (root / BUCKET / "k").stat().st_ino == inode


def test_folders_go_with_their_last_object(store: FileObjectStore, root: Path) -> None:
    store.put(BUCKET, "a/b/c", b"")
    store.put(BUCKET, "a/d", b"")
    store.delete(BUCKET, "a/b/c")
    assert [path.name for path in (root / BUCKET / "a").iterdir()] == ["d"]
    store.delete(BUCKET, "a/d")
    assert list((root / BUCKET).iterdir()) == []


def test_an_object_moves_aside_for_a_folder_and_keeps_its_head(store: FileObjectStore) -> None:
    put = store.put(BUCKET, "a", b"object", content_type="text/csv")
    store.put(BUCKET, "a/b", b"below")
    assert store.head(BUCKET, "a") == put
    store.put(BUCKET, "a", b"again")
    assert store.open(BUCKET, "a").read() == b"again"
    store.delete(BUCKET, "a/b")
    store.put(BUCKET, "a", b"back")
    assert [(info.key, info.size) for info in store.list(BUCKET)] == [("a", 4)]
    store.delete(BUCKET, "a")
    assert keys(store) == []


def test_a_deep_key(store: FileObjectStore) -> None:
    key = "/".join("d" * 250)
    store.put(BUCKET, key, b"deep")
    assert keys(store) == [key]
    store.delete(BUCKET, key)
    assert keys(store) == []


# --- Against a model ---

names = st.sampled_from(["a", "b", "a-", "..", "", "%~", "é", "L" * 256])
some_keys = st.lists(names, min_size=1, max_size=4).map("/".join).filter(bool)
folded_keys = st.sampled_from(["A", "a/B", "é/x", "e\u0301/x", "Long" * 80])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), some_keys), max_size=20), some_keys, some_keys)
def test_lists_are_those_of_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[bool, str]],
    prefix: str,
    after: str,
) -> None:
    store = FileObjectStore(tmp_path_factory.mktemp("objects"))
    store.create_bucket(BUCKET)
    model: set[str] = set()
    for is_put, key in steps:
        if is_put:
            store.put(BUCKET, key, b"")
            model.add(key)
        else:
            store.delete(BUCKET, key)
            model.discard(key)
    ordered = sorted(model, key=str.encode)
    assert keys(store) == ordered
    for start in ("", prefix, prefix[:-1]):
        chosen = [key for key in ordered if key.startswith(start) and key > after]
        found = [entry.key for entry in store.list_objects(BUCKET, start, after)]  # type: ignore[union-attr]  # nothing collapses
        assert found == chosen
        assert _collapsed(store, start) == _collapsed_model(ordered, start)
    store.close()


def _collapsed(store: FileObjectStore, prefix: str) -> list[str]:
    entries = store.list_objects(BUCKET, prefix, collapse=True)
    return [entry.key if isinstance(entry, StoredObject) else entry for entry in entries]


def _collapsed_model(ordered: list[str], prefix: str) -> list[str]:
    found = []
    for key in ordered:
        if key.startswith(prefix):
            head, slash, _ = key[len(prefix) :].partition("/")
            name = prefix + head + slash
            if name not in found:
                found.append(name)
    return sorted(found, key=str.encode)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sets(st.one_of(some_keys, st.sampled_from(["A", "a/B", "é/x", "Long" * 80])), max_size=12)
)
def test_names_for_a_file_system_that_folds_them(
    tmp_path_factory: pytest.TempPathFactory, wanted: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("folding")
    tree = BucketTree(str(folder), nullcontext(), folding=True)
    for key in wanted:
        source = folder.parent / "source"
        source.write_bytes(key.encode())
        tree.place(str(source), key)
    found = list(tree.walk())
    assert [entry.key for entry in found] == sorted(wanted, key=str.encode)
    paths = [str(path.relative_to(folder)) for path in folder.rglob("*")]
    assert all(path.isascii() for path in paths)
    assert len({path.casefold() for path in paths}) == len(paths)
    for entry in found:
        assert tree.find(entry.key) == entry.path
        assert Path(entry.path or "").read_bytes() == entry.key.encode()
        assert tree.remove(entry.key)
    assert list(folder.iterdir()) == []


# --- Conditions and versions ---


def write(store: FileObjectStore, key: str, body: bytes, conditions: WriteConditions) -> str:
    with store.stage() as staged:
        staged.write(body)
        return store.publish(BUCKET, key, staged, Attributes(), conditions=conditions).etag


def test_only_one_of_many_creates_an_object(store: FileObjectStore) -> None:
    outcomes: list[str] = []

    def create(number: int) -> None:
        try:
            write(store, "lock", str(number).encode(), WriteConditions(if_none_match=True))
            outcomes.append(str(number))
        except ServiceError as error:
            assert error.code == "PreconditionFailed"  # noqa: PT017

    run_all([lambda number=number: create(number) for number in range(16)])  # type: ignore[misc]  # mypy cannot infer the default
    assert len(outcomes) == 1
    assert store.open(BUCKET, "lock").read() == outcomes[0].encode()


def test_if_match_replaces_what_was_seen(store: FileObjectStore, root: Path) -> None:
    with pytest.raises(ServiceError) as missing:
        write(store, "k", b"1", WriteConditions(if_match="etag"))
    assert (missing.value.code, missing.value.status) == ("NoSuchKey", 404)
    etag = store.put(BUCKET, "k", b"1").etag
    write(store, "k", b"2", WriteConditions(if_match=etag))
    with pytest.raises(ServiceError) as changed:
        write(store, "k", b"3", WriteConditions(if_match=etag))
    assert (changed.value.code, changed.value.status) == ("PreconditionFailed", 412)
    assert store.open(BUCKET, "k").read() == b"2"
    assert leftovers(root) == []


def test_versions_are_kept_listed_and_brought_back(store: FileObjectStore) -> None:
    store.put(BUCKET, "k", b"before")
    store.put_setting(BUCKET, VERSIONING, "Enabled")
    store.put(BUCKET, "k", b"one")
    store.put(BUCKET, "k", b"two")
    marker = store.delete_object(BUCKET, "k")
    assert marker.is_marker
    with pytest.raises(NoSuchKey):
        store.head(BUCKET, "k")
    assert keys(store) == []
    versions = list(store.list_versions(BUCKET))
    assert [(v.is_marker, v.size, v.is_latest) for v in versions] == [
        (True, 0, True),
        (False, 3, False),
        (False, 3, False),
        (False, 6, False),
    ]
    assert versions[3].version_id == "null"
    contents = [
        store.open_object(BUCKET, "k", version_id=v.version_id).file.read() for v in versions[1:]
    ]
    assert contents == [b"two", b"one", b"before"]
    store.delete_object(BUCKET, "k", version_id=marker.version_id)
    assert store.open(BUCKET, "k").read() == b"two"
    store.delete_object(BUCKET, "k", version_id=versions[1].version_id)
    assert store.open(BUCKET, "k").read() == b"one"
    store.delete_object(BUCKET, "k", version_id="null")
    assert [v.version_id for v in store.list_versions(BUCKET)] == [versions[2].version_id]


def test_suspended_versioning_replaces_the_null_version_only(store: FileObjectStore) -> None:
    store.put_setting(BUCKET, VERSIONING, "Enabled")
    store.put(BUCKET, "k", b"kept")
    store.put_setting(BUCKET, VERSIONING, "Suspended")
    store.put(BUCKET, "k", b"null 1")
    store.put(BUCKET, "k", b"null two")
    assert [version.size for version in store.list_versions(BUCKET)] == [8, 4]
    store.delete_object(BUCKET, "k")
    assert [(v.is_marker, v.size) for v in store.list_versions(BUCKET)] == [(True, 0), (False, 4)]


def test_a_bucket_with_versions_is_not_empty(store: FileObjectStore, root: Path) -> None:
    store.put_setting(BUCKET, VERSIONING, "Enabled")
    store.put(BUCKET, "k", b"1")
    store.delete_object(BUCKET, "k")
    with pytest.raises(ServiceError) as full:
        store.delete_bucket(BUCKET)
    assert full.value.code == "BucketNotEmpty"
    for version in list(store.list_versions(BUCKET)):
        store.delete_object(BUCKET, "k", version_id=version.version_id)
    store.delete_bucket(BUCKET)
    assert not (root / BUCKET).exists()
    store.create_bucket(BUCKET)
    assert store.versioning(BUCKET) is None


# --- Many at once ---


def run_all(calls: list[Callable[[], object]]) -> None:
    """Run all at once, and raise what any of them raised."""
    with ThreadPoolExecutor(len(calls)) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()


@contextmanager
def meanwhile(*calls: Callable[[], object]) -> Iterator[None]:
    """Repeat `calls` in threads while the block runs, and raise what any of them raised."""
    ended = threading.Event()

    def repeat(call: Callable[[], object]) -> None:
        while not ended.is_set():
            call()

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(repeat, call) for call in calls]
        try:
            yield
        finally:
            ended.set()
        for future in futures:
            future.result()


def test_content_and_metadata_belong_together_whoever_writes(
    store: FileObjectStore, root: Path
) -> None:
    """Writers through two instances, readers and listers all along."""
    other = FileObjectStore(root)

    def put(target: FileObjectStore, name: str) -> None:
        for number in range(60):
            body = f"{name}{number}".encode() * 50
            target.put(BUCKET, "k", body, metadata={"md5": hashlib.md5(body).hexdigest()})

    def read() -> None:
        opened = store.open_object(BUCKET, "k")
        md5 = hashlib.md5(opened.file.read()).hexdigest()
        opened.file.close()
        assert opened.object.etag == md5
        assert opened.object.attributes.metadata == {"md5": md5}

    def listing() -> None:
        (info,) = other.list(BUCKET)
        assert info.metadata == {"md5": info.etag}

    put(store, "first")
    with meanwhile(read, listing):
        run_all([lambda: put(store, "a"), lambda: put(other, "b")])
    other.close()


def test_a_list_never_misses_what_stays(store: FileObjectStore) -> None:
    """Files move aside and back, folders come and go, while the bucket is listed."""
    store.put(BUCKET, "a", b"stays")
    store.put(BUCKET, "z", b"stays")

    def listing() -> None:
        found = keys(store)
        assert {"a", "z"} <= set(found)
        assert found == sorted(found)
        assert store.head(BUCKET, "a").size == 5

    with meanwhile(listing):
        for _ in range(100):
            store.put(BUCKET, "a/b", b"comes and goes")
            store.delete(BUCKET, "a/b")
            store.put(BUCKET, "a", b"stays")


# --- Trouble ---


def test_leftovers_of_a_dead_instance_are_removed_and_not_those_of_a_living_one(
    store: FileObjectStore, root: Path
) -> None:
    staged = store.stage()
    staged.write(b"arriving")
    dead = root / ".meta" / "staging" / "dead"
    dead.mkdir()
    (dead / "half").write_bytes(b"half")
    dead.with_suffix(".lock").touch()
    FileObjectStore(root).close()
    assert not dead.exists()
    with staged:
        store.publish(BUCKET, "k", staged, Attributes())
    assert store.open(BUCKET, "k").read() == b"arriving"


def test_a_full_disk_leaves_nothing_half_made(root: Path) -> None:
    """In a child process, whose limit for a file's size stands for the disk's."""
    store = FileObjectStore(root)
    store.create_bucket(BUCKET)
    store.put(BUCKET, "k", b"old")
    store.close()
    assert in_child(lambda: _write_too_much(root)) == 0
    store = FileObjectStore(root)
    assert store.open(BUCKET, "k").read() == b"old"
    assert keys(store) == ["k"]
    assert leftovers(root) == []
    store.close()


def _write_too_much(root: Path) -> None:
    store = FileObjectStore(root)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    for key in ("k", "new"):
        with pytest.raises(DiskFull):
            store.put(BUCKET, key, b"x" * (2 << 20))
    assert store.put(BUCKET, "small", b"fits").size == 4
    store.delete(BUCKET, "small")


def in_child(call: Callable[[], None]) -> int:
    """Run a call in a fork of this process; return its exit status."""
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def test_a_store_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(StoreError) as refused:
        FileObjectStore(file / "objects")
    assert os.strerror(errno.ENOTDIR) in str(refused.value)
    assert str(file) in str(refused.value)
