"""Which file an object becomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.errors import InvalidKey
from mlops.execution.cluster import Share
from mlops.execution.failures import StepFailure
from mlops.execution.inputs import Input, InputStager
from mlops.execution.object_names import names_below, objects_in_manifest
from mlops.s3_uri import split_s3_uri
from mlops.stores.objects import FileObjectStore


@pytest.mark.parametrize(
    ("prefix", "keys", "expected"),
    [
        ("in/", ["in/a", "in/b/c"], ["a", "b/c"]),
        ("in", ["in/a"], ["a"]),
        ("in/a.csv", ["in/a.csv"], ["a.csv"]),
        ("in/a", ["in/a", "in/a/b"], ["a", "b"]),
        ("in", ["in/a", "in2/b", "in.csv"], ["a", "in2/b", "in.csv"]),
        ("x/in", ["x/in", "x/in/a", "x/in2/b"], ["in", "a", "in2/b"]),
        ("data/tr", ["data/train/a.csv", "data/try"], ["train/a.csv", "try"]),
        ("", ["a", "b/c"], ["a", "b/c"]),
        ("in/", ["in/", "in/folder/", "in/a"], ["a"]),
        ("in/", ["in//a"], ["a"]),
        ("in/", [], []),
    ],
)
def test_names_below_a_prefix(prefix: str, keys: Sequence[str], expected: list[str]) -> None:
    assert [name for _, name in names_below(prefix, keys)] == expected


@pytest.mark.parametrize("key", ["in/../../etc/passwd", "in/./a"])
def test_a_key_that_is_no_file_name_is_refused(key: str) -> None:
    with pytest.raises(StepFailure, match="cannot be a file name"):
        list(names_below("in", [key]))


@given(st.text(), st.lists(st.text()))
def test_no_name_leaves_its_folder(prefix: str, tails: list[str]) -> None:
    keys = [prefix + tail for tail in tails]
    try:
        names = [name for _, name in names_below(prefix, keys)]
    except StepFailure:
        return
    for name in names:
        assert not name.startswith("/")
        assert ".." not in name.split("/")


@pytest.mark.parametrize("uri", ["s3://b/k?x=1#y", "s3://b/k/"])
def test_a_key_may_hold_what_an_address_may_not(uri: str) -> None:
    assert split_s3_uri(uri) == ("b", uri.removeprefix("s3://b/"))


@pytest.mark.parametrize("uri", ["https://b/k", "s3:///k", "/opt/x", ""])
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(InvalidKey, match="is no S3 address"):
        split_s3_uri(uri)


@pytest.fixture
def objects(tmp_path: Path) -> FileObjectStore:
    store = FileObjectStore(tmp_path / "objects")
    store.create_bucket("bucket")
    return store


def test_an_object_that_is_also_a_folder_cannot_be_both(
    objects: FileObjectStore, tmp_path: Path
) -> None:
    objects.put("bucket", "in/a", b"file")
    objects.put("bucket", "in/a/b", b"below it")
    stager = InputStager(objects, tmp_path / "ml", tmp_path / "scratch")
    with pytest.raises(StepFailure, match="both as an object and as a folder"):
        stager.stage([Input("i", "s3://bucket/in", "/opt/ml/input/data/i")])


def test_a_folder_of_the_store_is_mounted_as_it_is(
    objects: FileObjectStore, tmp_path: Path
) -> None:
    objects.put("bucket", "in/a", b"x")
    stager = InputStager(objects, tmp_path / "ml", tmp_path / "scratch")
    (mount,) = stager.stage([Input("i", "s3://bucket/in", "/opt/ml/input/data/i")])
    assert mount.source == objects.folder_of("bucket", "in")
    assert not (tmp_path / "scratch").exists()


def test_single_objects_are_linked_and_not_copied(objects: FileObjectStore, tmp_path: Path) -> None:
    objects.put("bucket", "in/a", b"x")
    stager = InputStager(objects, tmp_path / "ml", tmp_path / "scratch")
    (mount,) = stager.stage([Input("i", "s3://bucket/in/a", "/opt/ml/input/data/i")])
    assert (mount.source / "a").samefile(objects.file_of("bucket", "in/a"))


def test_kept_inputs_are_copies_and_may_be_nothing(
    objects: FileObjectStore, tmp_path: Path
) -> None:
    objects.put("bucket", "c/a", b"x")
    stager = InputStager(objects, tmp_path / "ml", tmp_path / "scratch")
    mounts = stager.stage(
        [
            Input("c", "s3://bucket/c", "/opt/ml/checkpoints", kept=True),
            Input("d", "s3://bucket/none", "/opt/ml/more", kept=True),
        ]
    )
    assert mounts == ()
    copy = tmp_path / "ml" / "checkpoints" / "a"
    assert copy.read_bytes() == b"x"
    assert not copy.samefile(objects.file_of("bucket", "c/a"))
    assert list((tmp_path / "ml" / "more").iterdir()) == []


# --- siblings, manifests, shares ---


def stage(objects: FileObjectStore, tmp_path: Path, each: Input) -> dict[str, str]:
    """What the input's folder shows: file names to texts."""
    (mount,) = InputStager(objects, tmp_path / "ml", tmp_path / "scratch").stage([each])
    return {
        str(file.relative_to(mount.source)): file.read_text()
        for file in sorted(mount.source.rglob("*"))
        if file.is_file()
    }


def put(objects: FileObjectStore, *keys: str) -> None:
    for key in keys:
        objects.put("bucket", key, key.encode())


def test_siblings_that_share_the_prefix_as_text_come_along(
    objects: FileObjectStore, tmp_path: Path
) -> None:
    put(objects, "data/train/a", "data/train.csv", "data/training/b", "data/other")
    found = stage(objects, tmp_path, Input("i", "s3://bucket/data/train", "/opt/ml/input/data/i"))
    assert found == {
        "a": "data/train/a",
        "train.csv": "data/train.csv",
        "training/b": "data/training/b",
    }


MANIFEST = '[{"prefix": "s3://bucket/data/"}, "a", "sub/b"]'


def test_a_manifest_lists_the_objects(objects: FileObjectStore, tmp_path: Path) -> None:
    put(objects, "data/a", "data/sub/b", "data/unlisted")
    objects.put("bucket", "the.manifest", MANIFEST.encode())
    each = Input("i", "s3://bucket/the.manifest", "/opt/ml/input/data/i", manifest=True)
    assert stage(objects, tmp_path, each) == {"a": "data/a", "sub/b": "data/sub/b"}


def test_a_manifest_that_names_a_missing_object_says_which(
    objects: FileObjectStore, tmp_path: Path
) -> None:
    put(objects, "data/a")
    objects.put("bucket", "the.manifest", MANIFEST.encode())
    each = Input("i", "s3://bucket/the.manifest", "/opt/ml/input/data/i", manifest=True)
    with pytest.raises(StepFailure, match="there is no s3://bucket/data/sub/b"):
        stage(objects, tmp_path, each)


def test_a_manifest_that_is_missing_says_so(objects: FileObjectStore, tmp_path: Path) -> None:
    each = Input("i", "s3://bucket/no.manifest", "/opt/ml/input/data/i", manifest=True)
    with pytest.raises(StepFailure, match="No S3 objects found"):
        stage(objects, tmp_path, each)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON"),
        ("{}", "it must be a JSON array"),
        ("[]", "it must be a JSON array"),
        ('["a"]', "first element must be"),
        ('[{"prefix": "s3://bucket/"}]', "files must follow"),
        ('[{"prefix": "data/"}, "a"]', "is no S3 address"),
        ('[{"prefix": "s3://bucket/"}, 7]', "every element after the first"),
    ],
)
def test_another_manifest_is_refused(text: str, reason: str) -> None:
    with pytest.raises(StepFailure, match=f"s3://b/m is not a valid manifest file: .*{reason}"):
        objects_in_manifest(text, "s3://b/m")


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../b", "/"])
def test_no_name_in_a_manifest_leaves_its_folder(name: str) -> None:
    text = json.dumps([{"prefix": "s3://bucket/data/"}, name])
    with pytest.raises(StepFailure, match="cannot be a file name"):
        objects_in_manifest(text, "s3://b/m")


@pytest.mark.parametrize(("count", "files"), [(1, 3), (2, 5), (3, 3), (4, 2), (5, 12)])
def test_shares_are_the_whole_without_overlap(
    objects: FileObjectStore, tmp_path: Path, count: int, files: int
) -> None:
    put(objects, *(f"in/{number:02}" for number in range(files)))
    shares = [
        stage(
            objects,
            tmp_path / str(index),
            Input("i", "s3://bucket/in/", "/opt/ml/input/i", share=Share(index, count)),
        )
        for index in range(count)
    ]
    sizes = [len(share) for share in shares]
    assert sum(sizes) == len(set().union(*shares)) == files
    assert max(sizes) - min(sizes) <= 1
