"""Multipart uploads, by boto3."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

BUCKET, KEY = "bucket", "parts/é.bin"
MIB = 1 << 20
LARGE = b"0123456789abcdef" * (5 * MIB // 16)


def code_of(call: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        call()
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def start(s3: Any, **options: Any) -> dict[str, Any]:
    upload = s3.create_multipart_upload(Bucket=BUCKET, Key=KEY, **options)["UploadId"]
    return {"Bucket": BUCKET, "Key": KEY, "UploadId": upload}


def send(s3: Any, upload: dict[str, Any], number: int, body: bytes) -> dict[str, Any]:
    part = s3.upload_part(**upload, PartNumber=number, Body=body)
    kept = {name: value for name, value in part.items() if name.startswith("Checksum")}
    return {"PartNumber": number, "ETag": part["ETag"], **kept}


def complete(s3: Any, upload: dict[str, Any], *parts: dict[str, Any], **options: Any) -> Any:
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": list(parts)}, **options)


def test_files_go_up_and_come_down(s3: Any, server: Any, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(12 * MIB + 1))
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    extra = {"Metadata": {"a_b": "c"}, "ContentType": "x/y"}
    s3.upload_file(str(source), BUCKET, KEY, ExtraArgs=extra, Config=config)
    s3.download_file(BUCKET, KEY, str(target), Config=config)
    assert target.read_bytes() == source.read_bytes()
    head = s3.head_object(Bucket=BUCKET, Key=KEY)
    assert head["ETag"].endswith('-3"')
    assert (head["Metadata"], head["ContentType"]) == (extra["Metadata"], "x/y")
    assert (server.root / BUCKET / KEY).read_bytes() == source.read_bytes()
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
    s3.copy({"Bucket": BUCKET, "Key": KEY}, BUCKET, "copy", Config=config)
    assert server.store.open(BUCKET, "copy").read() == source.read_bytes()


def test_the_etag_and_the_parts_are_those_of_s3(s3: Any) -> None:
    upload = start(s3)
    sent = [send(s3, upload, 2, b"tail"), send(s3, upload, 1, b"replaced")]
    sent[1] = send(s3, upload, 1, LARGE)
    done = complete(s3, upload, sent[1], sent[0])
    digests = hashlib.md5(LARGE).digest() + hashlib.md5(b"tail").digest()
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    second = s3.get_object(Bucket=BUCKET, Key=KEY, PartNumber=2)
    assert second["Body"].read() == b"tail"
    assert second["PartsCount"] == 2
    assert code_of(lambda: s3.get_object(Bucket=BUCKET, Key=KEY, PartNumber=3))[1] == 416
    assert code_of(lambda: send(s3, upload, 3, b"late")) == ("NoSuchUpload", 404)


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC32", "FULL_OBJECT")])
def test_checksums_of_multipart_objects(s3: Any, algorithm: str, kind: str) -> None:
    upload = start(s3, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    parts = []
    for number, body in enumerate((LARGE, b"tail"), start=1):
        part = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        name = f"Checksum{algorithm}"
        parts.append({"PartNumber": number, "ETag": part["ETag"], name: part[name]})
    complete(s3, upload, *parts)
    head = s3.head_object(Bucket=BUCKET, Key=KEY, ChecksumMode="ENABLED")
    if kind == "COMPOSITE":
        digests = b"".join(hashlib.sha256(body).digest() for body in (LARGE, b"tail"))
        wanted = base64.b64encode(hashlib.sha256(digests).digest()).decode() + "-2"
    else:
        wanted = base64.b64encode(zlib.crc32(LARGE + b"tail").to_bytes(4, "big")).decode()
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (wanted, kind)


def test_parts_copied_from_objects(s3: Any, server: Any) -> None:
    server.store.put(BUCKET, "source", LARGE)
    upload = start(s3)
    source = {"Bucket": BUCKET, "Key": "source"}
    copied = [
        s3.upload_part_copy(**upload, PartNumber=1, CopySource=source)["CopyPartResult"],
        s3.upload_part_copy(**upload, PartNumber=2, CopySource=source, CopySourceRange="bytes=3-5")[
            "CopyPartResult"
        ],
    ]
    parts = [{"PartNumber": n, "ETag": p["ETag"]} for n, p in enumerate(copied, start=1)]
    complete(s3, upload, *parts)
    assert server.store.open(BUCKET, KEY).read() == LARGE + b"345"
    upload = start(s3)
    for bad in ("bytes=0-99999999", "bytes=5-", "5-6", "bytes=6-5", "bytes=a-b"):
        got = code_of(
            lambda bad=bad: s3.upload_part_copy(
                **upload, PartNumber=1, CopySource=source, CopySourceRange=bad
            )
        )
        assert got == ("InvalidArgument", 400)


def test_uploads_that_cannot_be_completed_stay(s3: Any, server: Any) -> None:
    upload = start(s3)
    small, tail = send(s3, upload, 1, b"small"), send(s3, upload, 2, b"tail")
    wrong = {**tail, "ETag": small["ETag"]}
    for parts, code in (
        ([small, tail], "EntityTooSmall"),
        ([tail, small], "InvalidPartOrder"),
        ([tail, tail], "InvalidPartOrder"),
        ([small, wrong], "InvalidPart"),
        ([{**small, "PartNumber": 3}], "InvalidPart"),
        ([{**small, "PartNumber": 0}], "InvalidArgument"),
        ([], "MalformedXML"),
    ):
        got = code_of(lambda parts=parts: complete(s3, upload, *parts))
        assert got == (code, 400)
    assert code_of(lambda: complete(s3, upload, small, MpuObjectSize=4))[0] == "InvalidRequest"
    server.store.put(BUCKET, KEY, b"there")
    again = code_of(lambda: complete(s3, upload, small, IfNoneMatch="*"))
    assert again == ("PreconditionFailed", 412)
    complete(s3, upload, small)
    assert server.store.open(BUCKET, KEY).read() == b"small"


def test_lists_and_aborts(s3: Any, server: Any) -> None:
    uploads = [start(s3) for _ in range(3)]
    for number in (1, 2, 3):
        send(s3, uploads[0], number, b"x" * number)
    pages = s3.get_paginator("list_parts").paginate(**uploads[0], PaginationConfig={"PageSize": 2})
    assert [part["Size"] for page in pages for part in page["Parts"]] == [1, 2, 3]
    listed = s3.get_paginator("list_multipart_uploads").paginate(
        Bucket=BUCKET, PaginationConfig={"PageSize": 1}
    )
    found = {row["UploadId"] for page in listed for row in page.get("Uploads", [])}
    assert found == {upload["UploadId"] for upload in uploads}
    grouped = s3.list_multipart_uploads(Bucket=BUCKET, Delimiter="/")
    assert [row["Prefix"] for row in grouped["CommonPrefixes"]] == ["parts/"]
    for upload in uploads:
        s3.abort_multipart_upload(**upload)
    assert code_of(lambda: s3.abort_multipart_upload(**uploads[0])) == ("NoSuchUpload", 404)
    assert list((server.root / ".meta/uploads").iterdir()) == []
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


@pytest.mark.parametrize("number", [0, 10_001])
def test_part_numbers(server: Any, s3: Any, number: int) -> None:
    upload = start(s3)["UploadId"]
    target = f"/{BUCKET}/parts/%C3%A9.bin?partNumber={number}&uploadId={upload}"
    assert server.ask("PUT", target, b"x").status == 400
