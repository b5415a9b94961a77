"""A process that is killed at any moment of a write leaves the old object or the new one, whole.

The write runs in a forked child that kills itself (SIGKILL) before its n-th line of the store's
code, for every n until the write comes to its end; then the parent looks at what is there.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import mlops.stores.objects
from mlops.stores.objects import FileObjectStore
from mlops.stores.objects.model import Attributes, StoredObject
from mlops.stores.objects.store import VERSIONING

BUCKET = "bucket"
OLD, NEW, BESIDE = b"old content", b"new content, and longer", b"beside"
_PACKAGE = str(Path(mlops.stores.objects.__file__).parent)

# From one kill to the next, so many lines are passed by. 1 tries every moment, and takes minutes.
STRIDE = int(os.environ.get("MLOPS_TEST_KILL_STRIDE", "8"))

Write = Callable[[FileObjectStore, Path], None]


def metadata_of(body: bytes) -> dict[str, str]:
    return {"md5": hashlib.md5(body).hexdigest()}


def put(store: FileObjectStore, key: str, body: bytes) -> None:
    store.put(BUCKET, key, body, content_type="text/csv", metadata=metadata_of(body))


def create(store: FileObjectStore, _: Path) -> None:
    put(store, "new/key", NEW)


def replace(store: FileObjectStore, _: Path) -> None:
    put(store, "k", NEW)


def put_below(store: FileObjectStore, _: Path) -> None:
    """`k` has to move aside for the folder."""
    put(store, "k/below", NEW)


def delete(store: FileObjectStore, _: Path) -> None:
    store.delete(BUCKET, "k")


def adopt(store: FileObjectStore, folder: Path) -> None:
    store.adopt(BUCKET, "adopted", folder / "output")


def complete(store: FileObjectStore, _: Path) -> None:
    (upload,) = store.uploads.in_bucket(BUCKET)
    parts = store.uploads.parts(upload)
    with store.uploads.assemble(upload, parts) as staged:
        store.publish(BUCKET, "parts", staged, upload.attributes, etag="combined-2")
    store.uploads.discard(upload)


WRITES: dict[str, Write] = {
    "create": create,
    "replace": replace,
    "put below": put_below,
    "delete": delete,
    "adopt": adopt,
    "complete": complete,
}


@pytest.mark.parametrize("versioning", [None, "Enabled"])
@pytest.mark.parametrize("name", WRITES)
def test_nothing_half_made_is_seen(tmp_path: Path, name: str, versioning: str | None) -> None:
    template = tmp_path / "template"
    prepare(template, versioning)
    kills = 0
    # Another start for each write: what they have in common is then tried at most lines.
    start = 1 + (list(WRITES).index(name) * 2 + bool(versioning)) % STRIDE
    for line in range(start, 2000, STRIDE):
        folder = tmp_path / "run"
        shutil.copytree(template, folder, copy_function=shutil.copy2)
        status = killed_at(line, WRITES[name], folder)
        check(folder, acknowledged=status == 0, name=name, versioning=versioning)
        shutil.rmtree(folder)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
    assert kills > 20 / STRIDE
    assert line < 1990


def prepare(folder: Path, versioning: str | None) -> None:
    store = FileObjectStore(folder / "objects")
    store.create_bucket(BUCKET)
    if versioning:
        store.put_setting(BUCKET, VERSIONING, versioning)
    put(store, "k", OLD)
    put(store, "beside", BESIDE)
    (folder / "output").write_bytes(NEW)
    attributes = Attributes(content_type="text/csv", metadata=metadata_of(OLD + NEW))
    upload = store.uploads.create(BUCKET, "parts", attributes)
    for number, body in enumerate((OLD, NEW), start=1):
        with store.stage() as staged:
            staged.write(body)
            store.uploads.put_part(upload, number, staged, {})
    store.close()


def killed_at(line: int, write: Write, folder: Path) -> int:
    """Run `write` in a child that kills itself before that line; return its exit status."""
    child = multiprocessing.get_context("fork").Process(target=_run, args=(line, write, folder))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _run(line: int, write: Write, folder: Path) -> None:
    left = line

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    store = FileObjectStore(folder / "objects")
    sys.settrace(trace)
    write(store, folder)
    sys.settrace(None)


def check(folder: Path, *, acknowledged: bool, name: str, versioning: str | None) -> None:
    store = FileObjectStore(folder / "objects")
    found = {}
    for entry in store.list_objects(BUCKET):
        assert isinstance(entry, StoredObject)
        opened = store.open_object(BUCKET, entry.key)
        body = opened.file.read()
        opened.file.close()
        assert opened.object == entry
        found[entry.key] = body
        if entry.key != "adopted":
            assert entry.attributes.content_type == "text/csv"
            assert entry.attributes.metadata == metadata_of(body)
        if entry.key != "parts":
            assert entry.etag == hashlib.md5(body).hexdigest()
    before = {"k": OLD, "beside": BESIDE}
    after = {
        "create": before | {"new/key": NEW},
        "replace": before | {"k": NEW},
        "put below": before | {"k/below": NEW},
        "delete": {"beside": BESIDE},
        "adopt": before | {"adopted": NEW},
        "complete": before | {"parts": OLD + NEW},
    }[name]
    assert found in ((after,) if acknowledged else (before, after))
    if name == "adopt":  # in one place or the other, never lost
        assert (folder / "output").exists() != ("adopted" in found)
    if name == "complete" and "parts" not in found:  # the client can try again
        complete(store, folder)
        assert store.open(BUCKET, "parts").read() == OLD + NEW
    if versioning:
        assert_versions_agree(store)
    assert list((folder / "objects/.meta/staging").rglob("*-*")) == []
    assert writable(store)
    store.close()


def assert_versions_agree(store: FileObjectStore) -> None:
    """The old content is there whatever happened, as the current or a former version."""
    versions = [version for version in store.list_versions(BUCKET) if version.key == "k"]
    assert versions[0].is_latest
    contents = [
        store.open_object(BUCKET, "k", version_id=version.version_id).file.read()
        for version in versions
        if not version.is_marker
    ]
    assert contents[-1] == OLD
    assert len(contents) <= 2


def writable(store: FileObjectStore) -> bool:
    for key in ("k", "k/below", "new/key"):
        put(store, key, b"later")
        if store.open(BUCKET, key).read() != b"later":
            return False
    return True
