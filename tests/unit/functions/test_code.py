"""Zips: what is kept of them, and which are refused."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from mlops.errors import ServiceError
from mlops.functions.code import MAXIMUM_UNZIPPED, fetch_zip, store_zip, task_folder
from mlops.stores.objects.store import FileObjectStore


def zipped(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return content.getvalue()


def test_a_zip_is_kept_and_unpacked(tmp_path: Path) -> None:
    content = zipped(index="x = 1", package__inner="y = 2")
    code = store_zip(content, tmp_path)
    task = task_folder(tmp_path, code.digest)
    assert (task / "index.py").read_text() == "x = 1"
    assert (task / "package/inner.py").read_text() == "y = 2"
    assert code.size == len(content)
    assert len(code.sha256) == 44  # Base64 of 32 bytes


def test_every_user_may_read_it(tmp_path: Path) -> None:
    task = task_folder(tmp_path, store_zip(zipped(index=""), tmp_path).digest)
    assert stat.S_IMODE((task / "index.py").stat().st_mode) == 0o644


def test_the_same_again_is_the_same(tmp_path: Path) -> None:
    content = zipped(index="x = 1")
    assert store_zip(content, tmp_path) == store_zip(content, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def refused(content: bytes, folder: Path) -> str:
    with pytest.raises(ServiceError) as caught:
        store_zip(content, folder)
    assert caught.value.code == "InvalidParameterValueException"
    assert not folder.exists() or not list(folder.iterdir())
    return str(caught.value)


def test_what_is_no_zip(tmp_path: Path) -> None:
    assert refused(b"PK nonsense", tmp_path).startswith("Could not unzip uploaded file.")


def test_a_damaged_zip(tmp_path: Path) -> None:
    content = zipped(index="x = 1" * 50)
    assert "Could not unzip" in refused(content.replace(b"x = 1", b"y = 2", 1), tmp_path)


@pytest.mark.parametrize("name", ["../out.py", "/etc/out.py", "a/../../out.py"])
def test_an_entry_that_would_lie_elsewhere(tmp_path: Path, name: str) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, "")
    assert "may not be" in refused(content.getvalue(), tmp_path / "code")
    assert not (tmp_path / "out.py").exists()


def test_a_link(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "may not be" in refused(content.getvalue(), tmp_path)


def test_one_that_unpacks_to_too_much(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", bytes(MAXIMUM_UNZIPPED + 1))
    assert "Unzipped size must be smaller than 262144000 bytes" in refused(
        content.getvalue(), tmp_path
    )


@pytest.fixture
def objects(tmp_path: Path) -> FileObjectStore:
    return FileObjectStore(tmp_path / "objects")


def test_code_comes_with_the_request_or_through_s3(objects: FileObjectStore) -> None:
    assert fetch_zip({"ZipFile": b"here"}, objects) == b"here"
    objects.create_bucket("code")
    objects.put("code", "a.zip", b"there")
    assert fetch_zip({"S3Bucket": "code", "S3Key": "a.zip"}, objects) == b"there"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({}, "Please provide a source for function code."),
        ({"S3Bucket": "nowhere", "S3Key": "a"}, "S3 Error Code: NoSuchBucket"),
        ({"S3Bucket": "code", "S3Key": "a"}, "S3 Error Code: NoSuchKey"),
        ({"S3Bucket": "code", "S3Key": "a", "S3ObjectVersion": "1"}, "keeps no versions"),
    ],
)
def test_code_that_cannot_be_had(
    objects: FileObjectStore, code: dict[str, str], message: str
) -> None:
    objects.create_bucket("code")
    with pytest.raises(ServiceError, match=message):
        fetch_zip(code, objects)
