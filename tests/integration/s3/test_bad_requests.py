"""Whatever comes, the answer is an error of S3's, never a 500, and the server goes on."""

from __future__ import annotations

import http.client
import random
import socket
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from mlops.stores.objects.model import Attributes

BUCKET = "bucket"
LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]><Delete><Object><Key>&a11;</Key></Object></Delete>"
)
EXTERNAL = (
    b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    b"<Delete><Object><Key>&x;</Key></Object></Delete>"
)
DOCUMENTS = {
    "empty": b"",
    "text": b"hello",
    "unclosed": b"<Delete><Object>",
    "another root": b"<Other/>",
    "nothing in it": b"<Delete/>",
    "no key": b"<Delete><Object/></Delete>",
    "1,001 keys": b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    "billion laughs": LAUGHS,
    "laughs in UTF-16": LAUGHS.replace(b'version="1.0"', b'version="1.0" encoding="utf-16"')
    .decode()
    .encode("utf-16"),
    "external entity": EXTERNAL,
    "unknown encoding": b'<?xml version="1.0" encoding="none-such"?><Delete/>',
    "binary": bytes(range(256)) * 10,
    "too deep": b"<a>" * 100_000,
    "too large": b"<Delete>" + b" " * (9 << 20) + b"</Delete>",
}


@pytest.fixture(autouse=True)
def an_object(server: Any) -> None:
    server.store.put(BUCKET, "k", b"there")


def error_of(answer: Any) -> str:
    root = ET.fromstring(answer.body)
    assert root.tag == "Error"
    assert root.findtext("RequestId") == answer.headers["x-amz-request-id"]
    assert root.findtext("Message")
    return root.findtext("Code") or ""


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "?delete"),
        ("PUT", "?tagging"),
        ("PUT", "?versioning"),
        ("PUT", "?lifecycle"),
        ("PUT", "?policy"),
        ("PUT", "/k?tagging"),
        ("POST", "/k?uploadId={upload}"),
    ],
)
def test_documents(server: Any, method: str, target: str, name: str) -> None:
    upload = server.store.uploads.create(BUCKET, "k", Attributes())
    answer = server.ask(method, f"/{BUCKET}{target.format(upload=upload.id)}", DOCUMENTS[name])
    assert answer.status == 400
    wanted = {
        "MalformedXML",
        "MalformedPolicy",
        "MaxMessageLengthExceeded",
        "IllegalVersioningConfigurationException",
    }
    assert error_of(answer) in wanted
    assert server.store.head(BUCKET, "k").size == 5


@pytest.mark.parametrize(
    ("method", "target", "code", "status"),
    [
        ("GET", "/a_b/k", "InvalidBucketName", 400),
        ("GET", "/..%2f..%2fetc/passwd", "InvalidBucketName", 400),
        ("GET", "/.meta/index.sqlite", "InvalidBucketName", 400),
        ("GET", "/%00/k", "InvalidBucketName", 400),
        ("GET", f"/{BUCKET}/../../../etc/passwd", "NoSuchKey", 404),
        ("GET", f"/{BUCKET}/..%2f.meta%2findex.sqlite", "NoSuchKey", 404),
        ("GET", f"/{BUCKET}/%ff%fe", "InvalidURI", 400),
        ("GET", f"/{BUCKET}/{'x' * 1025}", "KeyTooLongError", 400),
        ("GET", f"/{BUCKET}?prefix=%ff", "InvalidURI", 400),
        ("GET", "/missing/k", "NoSuchBucket", 404),
        ("GET", f"/{BUCKET}/k?partNumber=0", "InvalidArgument", 400),
        ("GET", f"/{BUCKET}/k?partNumber=abc", "InvalidArgument", 400),
        ("GET", f"/{BUCKET}/k?versionId=none", "NoSuchVersion", 404),
        ("GET", f"/{BUCKET}/k?uploadId=none", "NoSuchUpload", 404),
        ("GET", f"/{BUCKET}/k?uploadId=..%2f..", "NoSuchUpload", 404),
        ("DELETE", f"/{BUCKET}/k?uploadId=none", "NoSuchUpload", 404),
        ("GET", f"/{BUCKET}/k?attributes", "InvalidArgument", 400),
        ("GET", f"/{BUCKET}/k?torrent", "NotImplemented", 501),
        ("POST", f"/{BUCKET}", "NotImplemented", 501),
        ("OPTIONS", f"/{BUCKET}/k", "NotImplemented", 501),
        ("PATCH", f"/{BUCKET}/k", "MethodNotAllowed", 405),
        ("DELETE", "/", "MethodNotAllowed", 405),
        ("GET", "/?max-buckets=0", "InvalidArgument", 400),
    ],
)
def test_requests(server: Any, method: str, target: str, code: str, status: int) -> None:
    answer = server.ask(method, target)
    assert (error_of(answer), answer.status) == (code, status)


def test_a_head_has_no_body(server: Any) -> None:
    answer = server.ask("HEAD", "/missing/k")
    assert (answer.status, answer.body) == (404, b"")
    answer = server.ask("HEAD", f"/{BUCKET}/k")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "5")


def test_a_put_without_a_length(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"PUT /bucket/new HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 411")
    assert b"MissingContentLength" in answer


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: Any) -> None:
    for head in (b"Content-Length: 1000", b"Transfer-Encoding: chunked"):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(
                b"PUT /bucket/new HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n3e8\r\n"
            )
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda c=connection: c.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 400")
    assert [info.key for info in server.store.list(BUCKET)] == ["k"]
    staging = [path for path in (server.root / ".meta/staging").rglob("*") if path.is_file()]
    assert [path.suffix for path in staging] == [".lock"]


def test_a_refused_body_does_not_disturb_the_connection(server: Any) -> None:
    """The answer comes, and the next request on the same connection is understood."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for _ in range(2):
        connection.request("PUT", "/missing/k", b"x" * (3 << 20))
        answer = connection.getresponse()
        assert (answer.status, b"NoSuchBucket" in answer.read()) == (404, True)
    connection.request("GET", f"/{BUCKET}/k")
    assert connection.getresponse().read() == b"there"
    connection.close()


def test_expect_100_continue(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(
            b"PUT /bucket/new HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert server.store.open(BUCKET, "new").read() == b"abc"


def test_no_random_request_is_too_much(server: Any) -> None:
    """Methods, paths, queries and headers thrown together: any answer but a failure of ours."""
    chosen = random.Random(7)
    values = ["", "0", "-1", "99999999999999999999", "abc", "%ff", "%00", "é", "a" * 500, "\\", "*"]
    names = """versionId uploadId uploads partNumber delete tagging acl versions list-type policy
        max-keys prefix delimiter marker encoding-type continuation-token versioning location cors
        attributes lifecycle response-expires max-parts key-marker restore x-amz-meta""".split()  # noqa: SIM905
    headers = """Range If-Match If-None-Match If-Modified-Since If-Range x-amz-copy-source
        x-amz-copy-source-range x-amz-metadata-directive x-amz-tagging Content-MD5 Content-Encoding
        x-amz-content-sha256 x-amz-decoded-content-length x-amz-checksum-crc32 x-amz-trailer
        x-amz-checksum-algorithm x-amz-object-attributes x-amz-mp-object-size""".split()  # noqa: SIM905
    header_values = [*values, "bytes=-", "STREAMING-X", "aws-chunked", "*", f"/{BUCKET}/k", '"x"']
    for _ in range(400):
        method = chosen.choice(["GET", "PUT", "POST", "DELETE", "HEAD"])
        path = chosen.choice(["/", f"/{BUCKET}", f"/{BUCKET}/", f"/{BUCKET}/k", "//", "/%ff/%00"])
        query = "&".join(
            f"{chosen.choice(names)}={chosen.choice(values)}" for _ in range(chosen.randrange(3))
        )
        extra = {
            chosen.choice(headers): chosen.choice(header_values).encode().decode("latin-1")
            for _ in range(chosen.randrange(3))
        }
        target = f"{path}?{query}".encode().decode("latin-1")
        body = chosen.choice([None, b"", b"x", b"<Delete/>", b"{}"])
        answer = server.ask(method, _ascii(target), body, extra)
        assert answer.status < 500 or answer.status == 501, (method, target, extra, answer)


def _ascii(target: str) -> str:
    return "".join(c if c.isascii() else f"%{ord(c):02X}" for c in target)
