"""A gateway that listens beyond this machine, asked by clients that are not near."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import socket
import stat
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore import auth
from botocore.config import Config
from botocore.exceptions import ClientError

from mlops.app import compose_gateway, exports_beyond
from mlops.errors import EnvironmentLacks, SettingsError
from mlops.gateway import guard
from mlops.gateway.credentials import CREDENTIALS_FILE, gateway_keys, job_keys
from mlops.gateway.server import Gateway, GatewayThread
from mlops.gateway.signatures import (
    STREAMING,
    STREAMING_TRAILER,
    STREAMING_UNSIGNED_TRAILER,
    KeyPair,
)
from mlops.listening import address_towards, is_near
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings
from mlops.surroundings import common_environment, surroundings_at

FAR = "127.0.0.2"
"""Stands for an address beyond: the tests say that nobody is near, wherever he calls from."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def gateway(store: Path) -> Iterator[Gateway]:
    patch = pytest.MonkeyPatch()
    patch.setattr(guard, "is_near", lambda *_: False)
    settings = Settings(store=store, gateway_host=FAR)
    made = compose_gateway(settings, FakeRuntime())
    with GatewayThread(made):
        yield made
    patch.undo()


@pytest.fixture(scope="module")
def url(gateway: Gateway) -> str:
    return gateway.url.replace("127.0.0.1", FAR)


@pytest.fixture(scope="module")
def keys(url: str, store: Path) -> KeyPair:
    return gateway_keys(store)


@pytest.fixture(scope="module")
def client(url: str, keys: KeyPair) -> Callable[..., Any]:
    def make(service: str, key: str | None = None, secret: str | None = None, **more: Any) -> Any:
        return boto3.Session(
            key or keys.access_key_id, secret or keys.secret_access_key, region_name="us-east-1"
        ).client(
            service,
            endpoint_url=url,
            config=Config(retries={"total_max_attempts": 1}, **more),
        )

    return make


@pytest.fixture(scope="module")
def s3(client: Callable[..., Any]) -> Any:
    made = client("s3")
    made.create_bucket(Bucket="guarded")
    return made


def code_of(call: Callable[[], Any]) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def status_of(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> int:
    try:
        with urlopen(Request(url, body, headers, method=method)) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


class TestWithTheKey:
    def test_every_protocol_is_answered(self, client: Callable[..., Any], s3: Any) -> None:
        assert client("sts").get_caller_identity()["Account"] == "000000000000"
        assert client("sagemaker").list_pipelines()["PipelineSummaries"] == []
        assert client("lambda").list_functions()["Functions"] == []
        assert client("events").list_rules()["Rules"] == []
        with pytest.raises(ClientError, match="not found"):
            client("sagemaker-runtime").invoke_endpoint(EndpointName="none", Body=b"\x00\xff")
        assert "guarded" in [each["Name"] for each in s3.list_buckets()["Buckets"]]

    @pytest.mark.parametrize("key", ["plain", "a key/with ünd + ~ %2F'", "a//b/../c"])
    def test_objects_go_both_ways(self, s3: Any, key: str) -> None:
        s3.put_object(Bucket="guarded", Key=key, Body=b"body", Metadata={"a-b": "c"})
        s3.put_object(Bucket="guarded", Key="stream", Body=io.BytesIO(b"x" * 3_000_000))
        found = s3.get_object(Bucket="guarded", Key=key)
        assert (found["Body"].read(), found["Metadata"]) == (b"body", {"a-b": "c"})
        assert s3.head_object(Bucket="guarded", Key="stream")["ContentLength"] == 3_000_000
        listed = s3.list_objects_v2(Bucket="guarded", Prefix=key[:2], Delimiter="/")
        assert listed["KeyCount"] >= 1
        s3.delete_objects(Bucket="guarded", Delete={"Objects": [{"Key": key}]})

    def test_an_unsigned_payload_is_taken(self, client: Callable[..., Any], s3: Any) -> None:
        other = client("s3", s3={"payload_signing_enabled": False})
        other.put_object(Bucket="guarded", Key="unsigned", Body=b"body")
        assert s3.head_object(Bucket="guarded", Key="unsigned")["ContentLength"] == 4

    def test_a_presigned_request_is_answered(self, client: Callable[..., Any], s3: Any) -> None:
        place = {"Bucket": "guarded", "Key": "presigned key"}
        second = s3.generate_presigned_url("get_object", place)
        with pytest.raises(HTTPError) as caught:
            urlopen(second)
        assert b"signature_version=" in caught.value.read()
        s3 = client("s3", signature_version="s3v4")
        put = s3.generate_presigned_url("put_object", place, ExpiresIn=60)
        assert status_of(put, "PUT", b"by url") == 200
        with urlopen(s3.generate_presigned_url("get_object", place, ExpiresIn=60)) as answer:
            assert answer.read() == b"by url"

    def test_who_assumes_a_role_signs_with_what_he_is_given(
        self, client: Callable[..., Any]
    ) -> None:
        given = client("sts").assume_role(
            RoleArn="arn:aws:iam::000000000000:role/r", RoleSessionName="session"
        )["Credentials"]
        session = boto3.Session(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            region_name="us-east-1",
        )
        other = session.client("sagemaker", endpoint_url=client("sts").meta.endpoint_url)
        assert other.list_pipelines()["PipelineSummaries"] == []

    def test_jobs_have_a_key_of_their_own(
        self, client: Callable[..., Any], keys: KeyPair, gateway: Gateway
    ) -> None:
        around = surroundings_at(gateway.listeners.signing_url, "10.0.0.1", "us-east-1")
        environment = common_environment(around)
        own = job_keys(keys)
        assert environment["AWS_ENDPOINT_URL"] == f"http://10.0.0.1:{gateway.listeners.port}"
        assert environment["AWS_ACCESS_KEY_ID"] == own.access_key_id != keys.access_key_id
        assert keys.secret_access_key not in str(environment)
        assert own.secret_access_key not in repr(around)
        key, secret = (
            environment[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        )
        assert client("sts", key, secret).get_caller_identity()["Account"] == "000000000000"

    def test_the_gateways_own_routes_are_answered_by_a_signed_request(
        self, url: str, keys: KeyPair
    ) -> None:
        answer = send(url, keys, "GET", "/_mlops/health", "mlops")
        health = json.loads(answer.read())
        assert health["host"] == FAR
        for pair in (keys, job_keys(keys)):
            assert pair.secret_access_key not in json.dumps(health)

    def test_who_signs_may_call_the_machine_by_its_name(self, url: str, keys: KeyPair) -> None:
        """Whoever does not might be a browser that somebody's page has sent."""
        named = {"Host": "laptop.example:4566"}
        assert send(url, keys, "GET", "/_mlops/health", "mlops", headers=named).status == 200
        other = {"Host": "laptop.example:4567"}
        tampered = send(url, keys, "GET", "/_mlops/health", "mlops", headers=named, told=other)
        assert tampered.status == 403


class TestWithout:
    def test_a_wrong_secret(self, client: Callable[..., Any]) -> None:
        wrong = {"secret": "wrong"}
        assert code_of(client("s3", **wrong).list_buckets) == ("SignatureDoesNotMatch", 403)
        assert code_of(client("sts", **wrong).get_caller_identity) == (
            "SignatureDoesNotMatch",
            403,
        )
        invalid = ("InvalidSignatureException", 403)
        assert code_of(client("sagemaker", **wrong).list_pipelines) == invalid
        assert code_of(client("lambda", **wrong).list_functions) == invalid

    def test_another_key(self, client: Callable[..., Any]) -> None:
        other = {"key": "local", "secret": "local"}
        assert code_of(client("s3", **other).list_buckets) == ("InvalidAccessKeyId", 403)
        assert code_of(client("sts", **other).get_caller_identity) == ("InvalidClientTokenId", 403)
        unknown = ("UnrecognizedClientException", 403)
        assert code_of(client("sagemaker", **other).list_pipelines) == unknown

    def test_a_clock_that_is_wrong(
        self, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=20)
        monkeypatch.setattr(auth, "get_current_datetime", lambda **_: late)
        assert code_of(client("s3").list_buckets) == ("RequestTimeTooSkewed", 403)
        assert code_of(client("sts").get_caller_identity) == ("RequestExpired", 400)

    def test_a_presigned_request_whose_time_is_over(
        self, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        s3 = client("s3", signature_version="s3v4")
        late = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=2)
        monkeypatch.setattr(auth, "get_current_datetime", lambda **_: late)
        place = {"Bucket": "guarded", "Key": "k"}
        with pytest.raises(HTTPError) as caught:
            urlopen(s3.generate_presigned_url("get_object", place, ExpiresIn=60))
        text = caught.value.read().decode()
        assert caught.value.code == 403
        assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in text

    def test_a_presigned_request_for_another_object(self, client: Callable[..., Any]) -> None:
        s3 = client("s3", signature_version="s3v4")
        made = s3.generate_presigned_url("get_object", {"Bucket": "guarded", "Key": "k"})
        assert status_of(made.replace("/k?", "/other?")) == 403
        assert status_of(made, "DELETE") == 403
        assert status_of(made, "GET", None, **{"X-Amz-Target": "SageMaker.ListPipelines"}) == 403

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/"),
            ("GET", "/guarded/k"),
            ("HEAD", "/guarded/k"),
            ("PUT", "/guarded/written"),
            ("GET", "/_mlops/health"),
            ("POST", "/_mlops/shutdown"),
            ("POST", "/endpoints/e/invocations"),
            ("GET", "/2015-03-31/functions"),
            ("POST", "/"),
        ],
    )
    def test_no_signature(self, url: str, method: str, path: str, s3: Any) -> None:
        body = b"{}" if method in ("POST", "PUT") else None
        assert status_of(url + path, method, body) == 403
        assert "Contents" not in s3.list_objects_v2(Bucket="guarded", Prefix="written")

    def test_no_signature_says_so_in_each_protocol(self, url: str) -> None:
        with pytest.raises(HTTPError) as caught:
            urlopen(Request(f"{url}/", b"{}", {"X-Amz-Target": "SageMaker.ListPipelines"}))
        document = json.loads(caught.value.read())
        assert document["__type"] == "MissingAuthenticationTokenException"
        with pytest.raises(HTTPError) as caught:
            urlopen(f"{url}/", b"Action=GetCallerIdentity")
        assert b"<Code>MissingAuthenticationToken</Code>" in caught.value.read()

    def test_the_registry_asks_for_its_own_password(self, url: str) -> None:
        assert status_of(f"{url}/v2/") == 401

    def test_a_large_body_that_nobody_takes_is_answered(self, url: str) -> None:
        assert status_of(f"{url}/guarded/k", "PUT", b"x" * 20_000_000) == 403


class TestTampering:
    """Requests of botocore's signer, changed on their way."""

    @pytest.mark.parametrize("length", [4, 3_000_000])
    def test_of_a_body(self, url: str, keys: KeyPair, s3: Any, length: int) -> None:
        body, other = b"a" * length, b"a" * (length - 1) + b"b"
        answer = send(url, keys, "PUT", "/guarded/tampered", "s3", body, sent=other)
        assert answer.status == 400
        assert b"XAmzContentSHA256Mismatch" in answer.read()
        assert "Contents" not in s3.list_objects_v2(Bucket="guarded", Prefix="tampered")

    def test_of_a_body_to_nothing(self, url: str, keys: KeyPair, s3: Any) -> None:
        answer = send(url, keys, "PUT", "/guarded/tampered", "s3", b"body", sent=b"")
        assert answer.status == 403
        assert "Contents" not in s3.list_objects_v2(Bucket="guarded", Prefix="tampered")

    def test_of_an_operation(self, url: str, keys: KeyPair) -> None:
        headers = {"X-Amz-Target": "SageMaker.ListPipelines", "Content-Type": "x-amz-json-1.1"}
        good = send(url, keys, "POST", "/", "sagemaker", b"{}", headers=headers)
        assert good.status == 200
        bad = send(url, keys, "POST", "/", "sagemaker", b"{}", headers=headers, sent=b'{"a":1}')
        assert bad.status == 403
        assert json.loads(bad.read())["__type"] == "InvalidSignatureException"


def send(
    url: str,
    keys: KeyPair,
    method: str,
    path: str,
    service: str,
    body: bytes = b"",
    *,
    headers: dict[str, str] | None = None,
    sent: bytes | None = None,
    told: dict[str, str] | None = None,
) -> http.client.HTTPResponse:
    """Send a request that botocore has signed; with another body or other headers if asked."""
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = auth.S3SigV4Auth if service == "s3" else auth.SigV4Auth
    request = AWSRequest(method, url + path, dict(headers or {}), body)
    signer(Credentials(keys.access_key_id, keys.secret_access_key), service, "us-east-1").add_auth(
        request
    )
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    signed = {name: str(value) for name, value in request.headers.items()}
    connection.request(method, path, body if sent is None else sent, signed | (told or {}))
    return connection.getresponse()


# --- bodies in chunks ----------------------------------------------------------------------------


class Chunked:
    """A body in signed chunks, as SDKs send it that do not hash a body before they send it."""

    def __init__(self, url: str, keys: KeyPair, *, trailers: dict[str, str] | None = None) -> None:
        self.url, self.keys, self.trailers = url, keys, trailers

    def put(
        self,
        key: str,
        chunks: list[bytes],
        change: Callable[[bytes], bytes] = bytes,
        *,
        kind: str | None = None,
    ) -> int:
        """PUT an object; `change` may alter the body after it has been signed."""
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        kind = kind or (STREAMING if self.trailers is None else STREAMING_TRAILER)

        class Signer(auth.S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
            def payload(self, request: Any) -> str:
                return kind

        headers = {
            "Content-Encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(sum(map(len, chunks))),
        }
        if self.trailers:
            headers["x-amz-trailer"] = ",".join(self.trailers)
        request = AWSRequest("PUT", f"{self.url}/guarded/{key}", headers, b"")
        signer = Signer(
            Credentials(self.keys.access_key_id, self.keys.secret_access_key), "s3", "us-east-1"
        )
        signer.add_auth(request)
        body = change(self._body(chunks, signer, request))
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        told = {name: str(value) for name, value in request.headers.items()}
        connection.request("PUT", f"/guarded/{key}", body, told)
        return connection.getresponse().status

    def _body(self, chunks: list[bytes], signer: Any, request: Any) -> bytes:
        """Made with botocore's own key derivation, by the scheme of the S3 API Reference."""
        from hashlib import sha256

        previous = request.headers["Authorization"].rpartition("Signature=")[2]
        head = (request.context["timestamp"], signer.credential_scope(request))
        body = b""
        for chunk in [*chunks, b""]:
            hashes = (sha256(b"").hexdigest(), sha256(chunk).hexdigest())
            text = "\n".join(("AWS4-HMAC-SHA256-PAYLOAD", *head, previous, *hashes))
            previous = signer.signature(text, request)
            body += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk
            body += b"\r\n" if chunk else b""
        if self.trailers is not None:
            lines = "".join(f"{name}:{value}\n" for name, value in self.trailers.items())
            hashed = sha256(lines.encode()).hexdigest()
            text = "\n".join(("AWS4-HMAC-SHA256-TRAILER", *head, previous, hashed))
            signed = f"{lines}x-amz-trailer-signature:{signer.signature(text, request)}\n"
            body += signed.replace("\n", "\r\n").encode()
        return body + b"\r\n"


CHUNKS = [b"a" * 70_000, b"b" * 10]


class TestChunks:
    def test_signed_chunks_are_taken(self, url: str, keys: KeyPair, s3: Any) -> None:
        assert Chunked(url, keys).put("chunks", CHUNKS) == 200
        found = s3.get_object(Bucket="guarded", Key="chunks")["Body"].read()
        assert found == b"".join(CHUNKS)

    def test_signed_trailers_are_taken(self, url: str, keys: KeyPair, s3: Any) -> None:
        crc = zlib.crc32(b"".join(CHUNKS)).to_bytes(4, "big")
        trailers = {"x-amz-checksum-crc32": base64.b64encode(crc).decode()}
        assert Chunked(url, keys, trailers=trailers).put("trailed", CHUNKS) == 200
        assert s3.head_object(Bucket="guarded", Key="trailed")["ContentLength"] == 70_010

    def test_trailers_of_unsigned_chunks_are_checked_as_ever(
        self, url: str, keys: KeyPair, s3: Any
    ) -> None:
        """What SDKs send over TLS; the checksum is all that such a body has."""
        crc = zlib.crc32(b"".join(CHUNKS)).to_bytes(4, "big")
        trailers = {"x-amz-checksum-crc32": base64.b64encode(crc).decode()}
        chunked = Chunked(url, keys, trailers=trailers)

        def plain(body: bytes) -> bytes:
            without = re.sub(rb";chunk-signature=[0-9a-f]{64}", b"", body)
            return re.sub(rb"x-amz-trailer-signature:[0-9a-f]{64}\r\n", b"", without)

        def other(body: bytes) -> bytes:
            return plain(body).replace(b"b" * 10, b"c" * 10)

        assert chunked.put("unsigned-chunks", CHUNKS, plain, kind=STREAMING_UNSIGNED_TRAILER) == 200
        assert chunked.put("unsigned-other", CHUNKS, other, kind=STREAMING_UNSIGNED_TRAILER) == 400
        assert chunked.put("unsigned-signed", CHUNKS, plain) == 403
        listed = s3.list_objects_v2(Bucket="guarded", Prefix="unsigned-")["Contents"]
        assert [each["Key"] for each in listed] == ["unsigned-chunks"]

    @pytest.mark.parametrize(
        "change",
        [
            lambda body: body.replace(b"b" * 10, b"c" * 10),
            lambda body: body.replace(b";chunk-signature=", b";other="),
            lambda body: body.replace(b"chunk-signature=", b"chunk-signature=0"),
        ],
    )
    def test_changed_chunks_are_not(
        self, url: str, keys: KeyPair, s3: Any, change: Callable[[bytes], bytes]
    ) -> None:
        assert Chunked(url, keys).put("changed", CHUNKS, change) == 403
        assert "Contents" not in s3.list_objects_v2(Bucket="guarded", Prefix="changed")


# --- who is near, and the key --------------------------------------------------------------------


def test_who_is_near() -> None:
    assert is_near("127.0.0.1", None)
    assert is_near("127.8.9.1", "172.17.0.1")
    assert not is_near("192.0.2.7", None)
    assert not is_near("not an address", "172.17.0.1")
    way = address_towards("192.0.2.7")
    if way is not None:  # through the interface of that address, as containers are behind theirs
        assert is_near("192.0.2.7", way)


@pytest.mark.parametrize("host", ["laptop", "::", "1.2.3", "1.2.3.256", ""])
def test_a_host_is_an_address(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="gateway_host"):
        Settings.load(flags={"gateway_host": host}, environment={}, folder=tmp_path)
    told = Settings.load(environment={"MLOPS_GATEWAY_HOST": "0.0.0.0"}, folder=tmp_path)
    assert told.gateway_host == "0.0.0.0"


def test_without_a_host_nothing_listens_beyond(tmp_path: Path) -> None:
    with GatewayThread(compose_gateway(Settings(store=tmp_path), FakeRuntime())) as url:
        with pytest.raises(OSError):
            socket.create_connection((FAR, urlsplit(url).port or 0), timeout=5)
        assert status_of(f"{url}/_mlops/health") == 200
    assert not (tmp_path / CREDENTIALS_FILE).exists()


def test_programs_of_this_machine_come_and_go_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "is_near", is_near)
    settings = Settings(store=tmp_path, gateway_host=FAR)
    with GatewayThread(compose_gateway(settings, FakeRuntime())) as url:
        assert status_of(f"{url}/_mlops/health") == 200
        session = boto3.Session("any", "thing", region_name="us-east-1")
        assert session.client("s3", endpoint_url=url).list_buckets()["Buckets"] == []


def test_what_another_machine_exports(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path, gateway_host="192.0.2.7")
    made = exports_beyond(settings, "http://127.0.0.1:4566")
    keys = gateway_keys(tmp_path)
    assert made == {
        "AWS_ENDPOINT_URL": "http://192.0.2.7:4566",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
    }


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    made = gateway_keys(tmp_path)
    file = tmp_path / CREDENTIALS_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert gateway_keys(tmp_path) == made
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert gateway_keys(_folder(tmp_path / "other")) != made
    assert job_keys(made) == job_keys(gateway_keys(tmp_path))
    file.write_text("{")
    with pytest.raises(EnvironmentLacks, match="cannot be read"):
        gateway_keys(tmp_path)


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
