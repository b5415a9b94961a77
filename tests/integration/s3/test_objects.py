"""One object at a time, by boto3."""

from __future__ import annotations

import base64
import hashlib
import os
import urllib.request
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest
from botocore.exceptions import ClientError

BUCKET = "bucket"
BODY = b"0123456789" * 100


class Ask(Protocol):
    """The part of conftest's server that is used here."""

    url: str
    store: Any

    def client(self, **config: Any) -> Any: ...
    def ask(self, method: str, target: str, *args: Any, **options: Any) -> Any: ...


def code_of(call: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as refused:
        call()
    response = refused.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def read(s3: Any, key: str, **options: Any) -> bytes:
    body: bytes = s3.get_object(Bucket=BUCKET, Key=key, **options)["Body"].read()
    return body


def test_everything_said_of_an_object_comes_back(s3: Any) -> None:
    said = {
        "ContentType": "text/csv",
        "CacheControl": "max-age=5",
        "ContentDisposition": 'attachment; filename="a.csv"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "arn:aws:kms:us-east-1:000000000000:key/k",
        "StorageClass": "STANDARD_IA",
        "WebsiteRedirectLocation": "/elsewhere",
        "Metadata": {"with_underscore": "1", "with-dash": "a b", "empty": ""},
    }
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY, Tagging="a=1&b=x%20y", **said)
    for answer in (s3.head_object(Bucket=BUCKET, Key="k"), s3.get_object(Bucket=BUCKET, Key="k")):
        assert {name: answer[name] for name in said} == said
        assert answer["ContentLength"] == len(BODY)
        assert answer["ETag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
        assert abs(answer["LastModified"] - datetime.now(UTC)) < timedelta(minutes=1)
        assert answer["ResponseMetadata"]["RequestId"]
    assert s3.get_object(Bucket=BUCKET, Key="k")["TagCount"] == 2
    tags = s3.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "x y"}]


@pytest.mark.parametrize(
    ("asked", "status", "wanted"),
    [
        ("bytes=0-9", 206, BODY[:10]),
        ("bytes=990-", 206, BODY[990:]),
        ("bytes=-7", 206, BODY[-7:]),
        ("bytes=-5000", 206, BODY),
        ("bytes=990-99999", 206, BODY[990:]),
        ("bytes=5-2", 200, BODY),
        ("bytes=0-1,4-5", 200, BODY),
        ("lines=1-2", 200, BODY),
        ("bytes=-", 200, BODY),
    ],
)
def test_ranges(s3: Any, asked: str, status: int, wanted: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    answer = s3.get_object(Bucket=BUCKET, Key="k", Range=asked)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == status
    assert answer["Body"].read() == wanted
    if status == 206:
        first = BODY.rindex(wanted) if asked.startswith("bytes=9") else len(BODY) - len(wanted)
        first = 0 if asked == "bytes=0-9" else first
        assert answer["ContentRange"] == f"bytes {first}-{first + len(wanted) - 1}/{len(BODY)}"


@pytest.mark.parametrize("asked", ["bytes=1000-", "bytes=-0"])
def test_a_range_that_is_not_there(s3: Any, asked: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    for key in ("k", "empty"):
        got = code_of(lambda key=key: read(s3, key, Range=asked))
        assert got == ("InvalidRange", 416)


def test_conditional_reads(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    head = s3.head_object(Bucket=BUCKET, Key="k")
    etag, moment = head["ETag"], head["LastModified"]
    earlier, later = moment - timedelta(hours=1), moment + timedelta(hours=1)
    for held in (
        {"IfMatch": etag},
        {"IfMatch": "*"},
        {"IfNoneMatch": '"other"'},
        {"IfModifiedSince": earlier},
        {"IfUnmodifiedSince": moment},
        {"IfMatch": etag, "IfUnmodifiedSince": earlier},
        {"IfNoneMatch": '"other"', "IfModifiedSince": later},
    ):
        assert read(s3, "k", **held) == BODY
    for failed in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": earlier}):
        assert code_of(lambda f=failed: read(s3, "k", **f)) == ("PreconditionFailed", 412)
    for unchanged in ({"IfNoneMatch": etag}, {"IfModifiedSince": later}):
        assert code_of(lambda u=unchanged: read(s3, "k", **u))[1] == 304


def test_conditional_writes(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"1", IfNoneMatch="*")
    again = code_of(lambda: s3.put_object(Bucket=BUCKET, Key="k", Body=b"2", IfNoneMatch="*"))
    assert again == ("PreconditionFailed", 412)
    etag = s3.head_object(Bucket=BUCKET, Key="k")["ETag"]
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"2", IfMatch=etag)
    stale = code_of(lambda: s3.put_object(Bucket=BUCKET, Key="k", Body=b"3", IfMatch=etag))
    assert stale == ("PreconditionFailed", 412)
    missing = code_of(lambda: s3.put_object(Bucket=BUCKET, Key="new", Body=b"", IfMatch=etag))
    assert missing == ("NoSuchKey", 404)
    other = code_of(lambda: s3.put_object(Bucket=BUCKET, Key="k", Body=b"", IfNoneMatch=etag))
    assert other == ("NotImplemented", 501)
    assert read(s3, "k") == b"2"


def test_the_answers_headers_can_be_asked_for(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    answer = s3.get_object(
        Bucket=BUCKET, Key="k", ResponseContentType="text/x", ResponseCacheControl="no-store"
    )
    assert (answer["ContentType"], answer["CacheControl"]) == ("text/x", "no-store")


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_of_either_signature_version(server: Ask, version: str) -> None:
    s3 = server.client(signature_version=version)
    target = {"Bucket": BUCKET, "Key": "sp ace/ü+%.txt"}
    put = s3.generate_presigned_url("put_object", Params=target)
    urllib.request.urlopen(urllib.request.Request(put, data=b"signed", method="PUT")).close()
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", Params=target)) as answer:
        assert answer.read() == b"signed"


def test_virtual_hosts(server: Ask) -> None:
    server.store.put(BUCKET, "a/b", b"x")
    for host in (f"{BUCKET}.localhost:80", f"{BUCKET}.s3.localhost"):
        assert server.ask("GET", "/a/b", None, {"Host": host}).body == b"x"
    assert server.ask("GET", f"/{BUCKET}/a/b", None, {"Host": "s3.localhost"}).body == b"x"


def test_paths_are_decoded_once(server: Ask) -> None:
    for target, key in (
        ("a%2Fb", "a/b"),
        ("a%252Fb", "a%2Fb"),
        ("a+b", "a+b"),
        ("a%3Fb", "a?b"),
        ("/lead", "/lead"),
        ("x/../../up", "x/../../up"),
        ("%2e%2e/up", "../up"),
    ):
        assert server.ask("PUT", f"/{BUCKET}/{target}", key.encode()).status == 200
        assert server.store.open(BUCKET, key).read() == key.encode()


# --- Integrity ---


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_are_verified_kept_and_given_back(s3: Any, algorithm: str) -> None:
    name = f"Checksum{algorithm}"
    put = s3.put_object(Bucket=BUCKET, Key="k", Body=BODY, ChecksumAlgorithm=algorithm)
    head = s3.head_object(Bucket=BUCKET, Key="k", ChecksumMode="ENABLED")
    assert head[name] == put[name]
    assert head["ChecksumType"] == "FULL_OBJECT"
    attributes = s3.get_object_attributes(
        Bucket=BUCKET, Key="k", ObjectAttributes=["Checksum", "ObjectSize", "ETag"]
    )
    assert attributes["Checksum"][name] == put[name]
    assert attributes["ObjectSize"] == len(BODY)
    wrong = {name: base64.b64encode(bytes(len(base64.b64decode(put[name])))).decode()}
    refused = code_of(lambda: s3.put_object(Bucket=BUCKET, Key="k", Body=b"other", **wrong))
    assert refused == ("BadDigest", 400)
    assert read(s3, "k") == BODY


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content-MD5": base64.b64encode(bytes(16)).decode()}, "BadDigest"),
        ({"Content-MD5": "no base64!"}, "InvalidDigest"),
        ({"Content-MD5": base64.b64encode(b"short").decode()}, "InvalidDigest"),
        ({"x-amz-content-sha256": "0" * 64}, "XAmzContentSHA256Mismatch"),
        ({"x-amz-checksum-crc32": "AAAA"}, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "A" * 27 + "="},
         "InvalidRequest"),
        ({"x-amz-sdk-checksum-algorithm": "CRC16"}, "InvalidRequest"),
        ({"x-amz-tagging": "a=1&a=2"}, "InvalidTag"),
        ({"x-amz-tagging": "&".join(f"k{n}=v" for n in range(11))}, "BadRequest"),
        ({"x-amz-meta-large": "x" * 3000}, "MetadataTooLarge"),
        ({"x-amz-storage-class": "CHEAP"}, "InvalidStorageClass"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, "NotImplemented"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, "NotImplemented"),
    ],
)  # fmt: skip
def test_a_put_that_is_refused_leaves_nothing(
    server: Ask, headers: dict[str, str], code: str
) -> None:
    answer = server.ask("PUT", f"/{BUCKET}/k", BODY, headers)
    assert f"<Code>{code}</Code>".encode() in answer.body
    assert answer.status == (501 if code == "NotImplemented" else 400)
    assert list(server.store.list(BUCKET)) == []


def aws_chunks(*chunks: bytes, signed: bool, trailer: str = "") -> bytes:
    signature = b";chunk-signature=" + b"0" * 64 if signed else b""
    framed = b"".join(b"%x%s\r\n%s\r\n" % (len(c), signature, c) for c in (*chunks, b"")[:-1])
    return framed + b"0%s\r\n%s\r\n" % (signature, trailer.encode())


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("transfer_chunked", [True, False])
def test_aws_chunks(server: Ask, signed: bool, transfer_chunked: bool) -> None:
    content = os.urandom(3 << 20)
    crc = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    trailer = f"x-amz-checksum-crc32:{crc}\r\n"
    body = aws_chunks(content[: 1 << 20], content[1 << 20 :], signed=signed, trailer=trailer)
    kind = "AWS4-HMAC-SHA256-PAYLOAD" if signed else "UNSIGNED-PAYLOAD"
    headers = {
        "x-amz-content-sha256": f"STREAMING-{kind}-TRAILER",
        "x-amz-decoded-content-length": str(len(content)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked,gzip",
    }
    if transfer_chunked:
        headers["Transfer-Encoding"] = "chunked"
        pieces: Any = iter([body[:1000], body[1000:70_000], body[70_000:]])
        answer = server.ask("PUT", f"/{BUCKET}/k", pieces, headers, chunked=True)
    else:
        answer = server.ask("PUT", f"/{BUCKET}/k", body, headers)
    assert answer.status == 200
    assert answer.headers["x-amz-checksum-crc32"] == crc
    opened = server.store.open_object(BUCKET, "k")
    assert opened.file.read() == content
    assert opened.object.attributes.headers == {"content-encoding": "gzip"}


@pytest.mark.parametrize(
    ("body", "extra"),
    [
        (b"zz\r\nabc", {}),
        (b"-5\r\nabc\r\n0\r\n\r\n", {}),
        (b"5\r\nab", {}),
        (b"5\r\nabcdeXX0\r\n\r\n", {}),
        (b"", {}),
        (b"x" * 20_000, {}),
        (b"3\r\nabc\r\n0\r\n\r\n", {"x-amz-decoded-content-length": "4"}),
        (b"3\r\nabc\r\n0\r\n\r\n", {"x-amz-decoded-content-length": "many"}),
        (b"3\r\nabc\r\n0\r\n\r\n", {"x-amz-trailer": "x-amz-checksum-crc32"}),
        (b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
         {"x-amz-trailer": "x-amz-checksum-crc32"}),
    ],
)  # fmt: skip
def test_broken_aws_chunks(server: Ask, body: bytes, extra: dict[str, str]) -> None:
    headers = {"x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", **extra}
    assert server.ask("PUT", f"/{BUCKET}/k", body, headers).status == 400
    assert list(server.store.list(BUCKET)) == []


def test_a_chunked_transfer_of_unknown_length(server: Ask) -> None:
    pieces = iter([b"x" * 1000, b"y" * 200_000, b"z"])
    headers = {"Transfer-Encoding": "chunked"}
    assert server.ask("PUT", f"/{BUCKET}/k", pieces, headers, chunked=True).status == 200
    assert server.store.open(BUCKET, "k").read() == b"x" * 1000 + b"y" * 200_000 + b"z"


# --- Copies ---


def test_copies_take_or_replace_metadata_and_tags(s3: Any) -> None:
    source = {"Bucket": BUCKET, "Key": "sp ace/ü+%?.txt"}
    s3.put_object(
        **source, Body=BODY, ContentType="text/csv", Metadata={"a": "1"}, Tagging="t=1",
        StorageClass="GLACIER_IR",
    )  # fmt: skip
    copied = s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
    head = s3.head_object(Bucket=BUCKET, Key="copy")
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"a": "1"})
    assert "StorageClass" not in head
    assert s3.get_object_tagging(Bucket=BUCKET, Key="copy")["TagSet"][0]["Key"] == "t"
    s3.copy_object(
        Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "copy"},
        MetadataDirective="REPLACE", Metadata={"b": "2"}, TaggingDirective="REPLACE",
    )  # fmt: skip
    head = s3.head_object(Bucket=BUCKET, Key="copy")
    assert (head["ContentType"], head["Metadata"]) == ("binary/octet-stream", {"b": "2"})
    assert read(s3, "copy") == BODY


def test_copies_that_are_refused(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=BODY)
    etag = s3.head_object(Bucket=BUCKET, Key="k")["ETag"]

    def copy(source: Any, key: str = "copy", **options: Any) -> tuple[str, int]:
        return code_of(lambda: s3.copy_object(Bucket=BUCKET, Key=key, CopySource=source, **options))

    mine = {"Bucket": BUCKET, "Key": "k"}
    assert copy(mine, "k") == ("InvalidRequest", 400)
    assert copy({"Bucket": BUCKET, "Key": "none"}) == ("NoSuchKey", 404)
    assert copy({"Bucket": "missing", "Key": "k"}) == ("NoSuchBucket", 404)
    assert copy("nonsense") == ("InvalidArgument", 400)
    assert copy(mine, CopySourceIfNoneMatch=etag) == ("PreconditionFailed", 412)
    assert copy(mine, CopySourceIfMatch='"x"') == ("PreconditionFailed", 412)


# --- Deletes, tags, access ---


def test_deletes_in_bulk(s3: Any) -> None:
    names = ["a", "a/b", "ü &<>", "x" * 1024]
    for name in names:
        s3.put_object(Bucket=BUCKET, Key=name, Body=b"")
    wanted = [{"Key": name} for name in [*names, "never there", "x" * 1025]]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": wanted})
    assert [row["Key"] for row in answer["Deleted"]] == [*names, "never there"]
    assert [row["Key"] for row in answer["Errors"]] == ["x" * 1025]
    quiet = {"Objects": [{"Key": "a"}], "Quiet": True}
    assert "Deleted" not in s3.delete_objects(Bucket=BUCKET, Delete=quiet)
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0


def test_tags(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"")
    etag = s3.head_object(Bucket=BUCKET, Key="k")
    tags = [{"Key": "ü", "Value": "&"}]
    s3.put_object_tagging(Bucket=BUCKET, Key="k", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"] == tags
    assert s3.head_object(Bucket=BUCKET, Key="k")["LastModified"] == etag["LastModified"]
    s3.delete_object_tagging(Bucket=BUCKET, Key="k")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="k")["TagSet"] == []
    many = {"TagSet": [{"Key": str(n), "Value": ""} for n in range(11)]}
    refused = code_of(lambda: s3.put_object_tagging(Bucket=BUCKET, Key="k", Tagging=many))
    assert refused == ("BadRequest", 400)


def test_access_is_the_owners(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="k", Body=b"", ACL="bucket-owner-full-control")
    (grant,) = s3.get_object_acl(Bucket=BUCKET, Key="k")["Grants"]
    assert grant["Permission"] == "FULL_CONTROL"
    public = code_of(lambda: s3.put_object_acl(Bucket=BUCKET, Key="k", ACL="public-read"))
    assert public == ("AccessControlListNotSupported", 400)


def test_versions_by_boto3(s3: Any) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=BUCKET, Key="k", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=BUCKET, Key="k", Body=b"2")["VersionId"]
    assert read(s3, "k", VersionId=first) == b"1"
    marker = s3.delete_object(Bucket=BUCKET, Key="k")
    assert marker["DeleteMarker"]
    missing = code_of(lambda: read(s3, "k"))
    assert missing == ("NoSuchKey", 404)
    assert code_of(lambda: read(s3, "k", VersionId=marker["VersionId"])) == (
        "MethodNotAllowed",
        405,
    )
    assert code_of(lambda: read(s3, "k", VersionId="never")) == ("NoSuchVersion", 404)
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=BUCKET, PaginationConfig={"PageSize": 1}
    )
    rows = [
        row for page in pages for row in page.get("Versions", []) + page.get("DeleteMarkers", [])
    ]
    assert [row["VersionId"] for row in rows] == [marker["VersionId"], second, first]
    assert [row["IsLatest"] for row in rows] == [True, False, False]
    source = {"Bucket": BUCKET, "Key": "k", "VersionId": first}
    s3.copy_object(Bucket=BUCKET, Key="k", CopySource=source)
    assert read(s3, "k") == b"1"
    assert code_of(lambda: s3.delete_bucket(Bucket=BUCKET)) == ("BucketNotEmpty", 409)
