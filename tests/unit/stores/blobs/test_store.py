"""Contents by their digest, and uploads that nobody can make half a content of."""

from __future__ import annotations

import hashlib
import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.errors import DiskFull, NoSuchBlob, StoreError, UploadInUse
from mlops.stores.blobs import FileBlobStore

CONTENT = b"a layer"
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> FileBlobStore:
    return FileBlobStore(tmp_path / "registry")


def read(store: FileBlobStore, digest: str) -> bytes:
    with store.open(digest) as file:
        return file.read()


def test_an_upload_becomes_a_content(store: FileBlobStore, tmp_path: Path) -> None:
    store.begin("one")
    assert store.append("one", [CONTENT[:3]]) == 3
    assert store.append("one", [CONTENT[3:5], CONTENT[5:]]) == len(CONTENT)
    assert store.digest("one") == DIGEST
    assert store.size(DIGEST) is None
    store.publish("one", DIGEST)
    assert (store.size(DIGEST), read(store, DIGEST)) == (len(CONTENT), CONTENT)
    assert (store.uploads(), store.digests()) == ({}, [DIGEST])
    assert (tmp_path / "registry/blobs/sha256" / DIGEST[7:]).read_bytes() == CONTENT


def test_another_instance_goes_on_where_a_killed_one_was(
    store: FileBlobStore, tmp_path: Path
) -> None:
    store.begin("one")
    store.append("one", [CONTENT[:3]])
    next_one = FileBlobStore(tmp_path / "registry")
    assert next_one.received("one") == 3
    next_one.append("one", [CONTENT[3:]])
    assert next_one.digest("one") == DIGEST
    next_one.publish("one", DIGEST)
    assert next_one.size(DIGEST) == len(CONTENT)


def test_a_sender_that_breaks_off_leaves_what_it_sent(store: FileBlobStore) -> None:
    def broken() -> Iterator[bytes]:
        yield CONTENT[:4]
        raise ConnectionError

    store.begin("one")
    with pytest.raises(StoreError):
        store.append("one", broken())
    assert store.received("one") == 4
    store.append("one", [CONTENT[4:]])
    assert store.digest("one") == DIGEST


def test_a_full_disk_leaves_what_was_acknowledged(store: FileBlobStore) -> None:
    store.begin("one")
    store.append("one", [CONTENT])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(DiskFull, match="no room"):
            store.append("one", [b"x" * 1000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (store.received("one"), store.digest("one")) == (len(CONTENT), DIGEST)


def test_two_at_once_do_not_mix(store: FileBlobStore) -> None:
    inside, leave = threading.Event(), threading.Event()

    def slow() -> Iterator[bytes]:
        inside.set()
        leave.wait(60)
        yield CONTENT

    store.begin("one")
    first = threading.Thread(target=store.append, args=("one", slow()))
    first.start()
    assert inside.wait(60)
    for other in (
        lambda: store.append("one", [b"x"]),
        lambda: store.digest("one"),
        lambda: store.publish("one", DIGEST),
    ):
        with pytest.raises(UploadInUse):
            other()
    leave.set()
    first.join()
    assert store.digest("one") == DIGEST


def test_published_under_its_own_digest_alone(store: FileBlobStore) -> None:
    store.begin("one")
    store.append("one", [b"something else"])
    with pytest.raises(UploadInUse):
        store.publish("one", DIGEST)
    assert store.size(DIGEST) is None


def test_cancelled_is_gone(store: FileBlobStore) -> None:
    store.begin("one")
    store.cancel("one")
    assert store.received("one") is None
    with pytest.raises(StoreError):
        store.append("one", [CONTENT])
    assert store.received("one") is None


def test_a_content_put_whole_read_while_it_is_deleted(store: FileBlobStore) -> None:
    assert store.put(CONTENT) == store.put(CONTENT) == DIGEST
    assert store.uploads() == {}
    with store.open(DIGEST) as file:
        store.delete(DIGEST)
        assert file.read() == CONTENT
    store.delete(DIGEST)
    with pytest.raises(NoSuchBlob):
        store.open(DIGEST)


@pytest.mark.parametrize("digest", ["", "sha256:..", f"{DIGEST}/x", DIGEST.upper(), "md5:aa"])
def test_no_digest_is_no_path(store: FileBlobStore, digest: str) -> None:
    for call in (store.open, store.size, store.delete):
        with pytest.raises(NoSuchBlob):
            call(digest)


@pytest.mark.parametrize("upload", ["", "..", "a/b", "x" * 65, "a\n"])
def test_no_upload_is_no_path(store: FileBlobStore, upload: str) -> None:
    for call in (store.begin, store.received, store.cancel):
        with pytest.raises(StoreError, match="no name of an upload"):
            call(upload)


def test_cleared(store: FileBlobStore) -> None:
    store.put(CONTENT)
    store.begin("one")
    store.clear()
    assert (store.uploads(), store.digests()) == ({}, [])
    store.put(CONTENT)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(StoreError, match="cannot use its files"):
        FileBlobStore(tmp_path / "closed/registry").begin("one")
