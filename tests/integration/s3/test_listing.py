"""Lists of objects, by boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

BUCKET = "bucket"
KEYS = [
    "a",
    "a/1",
    "a/2/x",
    "a/2/y",
    "b c+d%20&<é>.csv",
    "b/1",
    "b/nul\0\x01",
    "c//d",
    "c/",
    "long/" + "y" * 300,
    "z-1",
    "z-2",
]


@pytest.fixture(autouse=True)
def objects(server: Any) -> None:
    for key in KEYS:
        server.store.put(BUCKET, key, key.encode())


def wanted(prefix: str, delimiter: str) -> list[str]:
    found = set()
    for key in KEYS:
        if key.startswith(prefix):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            found.add(key if end < 0 else key[: end + len(delimiter)])
    return sorted(found, key=str.encode)


@pytest.mark.parametrize("operation", ["list_objects_v2", "list_objects", "list_object_versions"])
@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_pages_hold_everything_once(s3: Any, operation: str, page_size: int) -> None:
    for delimiter in ("", "/", "-", "//", "2/"):
        for prefix in ("", "a", "a/", "b", "none"):
            pages = s3.get_paginator(operation).paginate(
                Bucket=BUCKET,
                Prefix=prefix,
                Delimiter=delimiter,
                PaginationConfig={"PageSize": page_size},
            )
            found = []
            for page in pages:
                found += [row["Key"] for row in page.get("Contents", page.get("Versions", []))]
                found += [row["Prefix"] for row in page.get("CommonPrefixes", [])]
            assert sorted(found, key=str.encode) == wanted(prefix, delimiter)


def test_a_row_has_what_the_head_has(s3: Any) -> None:
    (row,) = s3.list_objects_v2(Bucket=BUCKET, Prefix="a/1", FetchOwner=True)["Contents"]
    head = s3.head_object(Bucket=BUCKET, Key="a/1")
    assert (row["ETag"], row["Size"]) == (head["ETag"], head["ContentLength"])
    assert row["LastModified"] == head["LastModified"]
    assert row["StorageClass"] == "STANDARD"
    assert row["Owner"]["ID"]


def test_start_after_and_no_keys(s3: Any) -> None:
    page = s3.list_objects_v2(Bucket=BUCKET, StartAfter="c", Prefix="c", MaxKeys=1)
    assert ([row["Key"] for row in page["Contents"]], page["IsTruncated"]) == (["c/"], True)
    page = s3.list_objects_v2(Bucket=BUCKET, MaxKeys=0)
    assert (page["KeyCount"], page["IsTruncated"]) == (0, False)


def test_without_url_encoding_the_xml_is_still_xml(server: Any) -> None:
    body = server.ask("GET", f"/{BUCKET}?prefix=b").body
    assert b"<Key>b c+d%20&amp;&lt;\xc3\xa9&gt;.csv</Key>" in body
    assert b"<Key>b/nul&#x0;&#x1;</Key>" in body


@pytest.mark.parametrize(
    "query",
    [
        "max-keys=-1",
        "max-keys=many",
        "max-keys=99999999999",
        "max-keys=1e3",
        "encoding-type=base64",
        "list-type=2&continuation-token=%21",
        "list-type=2&continuation-token=gICA",
        "versions&version-id-marker=x",
    ],
)
def test_bad_arguments(server: Any, query: str) -> None:
    answer = server.ask("GET", f"/{BUCKET}?{query}")
    assert answer.status == 400
    assert b"<Code>InvalidArgument</Code>" in answer.body


def test_a_bucket_that_is_missing(s3: Any) -> None:
    for operation in (s3.list_objects_v2, s3.list_objects, s3.list_object_versions):
        with pytest.raises(ClientError) as refused:
            operation(Bucket="missing")
        assert refused.value.response["Error"]["Code"] == "NoSuchBucket"
