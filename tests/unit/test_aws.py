"""The door to boto3. botocore's Stubber stands for S3: what is sent, and in which order."""

from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from mlops import aws
from mlops.assets import Asset
from mlops.errors import DataError, DiskFull, EnvironmentLacks, MlopsError, ServiceError

URL = "http://127.0.0.1:9"


@pytest.fixture
def s3() -> Any:
    return aws.gateway_session(URL, "us-east-1").client("s3")


@pytest.fixture
def hostile_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine set up for a real account, and badly."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\nendpoint_url = https://example.com\n")
    for name, value in {
        "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_ENDPOINT_URL": "https://example.com",
        "AWS_ENDPOINT_URL_S3": "https://example.com",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_DEFAULTS_MODE": "auto",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("hostile_environment")
def test_a_gateway_session_sees_nothing_of_the_environment() -> None:
    session = aws.gateway_session(URL, "us-east-1")
    credentials = session.get_credentials()
    client = session.client("sts", endpoint_url="https://sts.us-east-1.amazonaws.com")
    assert session.region_name == "us-east-1"
    assert (credentials.access_key, credentials.token) == (aws.LOCAL_ACCESS_KEY, None)
    assert client.meta.endpoint_url == URL
    assert client.meta.config.proxies == {}
    assert session.resource("s3").meta.client.meta.endpoint_url == URL


@pytest.mark.usefixtures("hostile_environment")
def test_a_gateway_client_calls_the_gateway_itself(s3: Any) -> None:
    sent: list[str] = []

    def answer(request: Any, **_: Any) -> None:
        sent.append(request.url)
        raise ConnectionError

    s3.meta.events.register("before-send", answer)
    with pytest.raises(ConnectionError):
        s3.head_object(Bucket="bucket", Key="key")
    assert sent == [f"{URL}/bucket/key"]


def test_what_is_there_is_not_sent_again(s3: Any, tmp_path: Path) -> None:
    there = Asset("bucket", "there", tmp_path / "not-needed")
    new = Asset("bucket", "new", b"content")
    with Stubber(s3) as stub:
        stub.add_response("head_object", {}, {"Bucket": "bucket", "Key": "there"})
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_response(
            "put_object",
            {},
            {"Bucket": "bucket", "Key": "new", "Body": ANY, "ChecksumAlgorithm": ANY},
        )
        assert aws.upload(s3, [there, new]) == [new]
        stub.assert_no_pending_responses()


def test_a_file_that_is_not_here_is_named_with_its_origin(s3: Any, tmp_path: Path) -> None:
    file = tmp_path / "abalone.csv"
    with Stubber(s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        with pytest.raises(DataError, match=r"abalone\.csv is not here") as error:
            aws.upload(s3, [Asset("bucket", "key", file, origin="UCI")])
    assert error.value.where == str(file)
    assert "it comes from UCI" in str(error.value.next_step)


def test_a_missing_bucket_is_named_with_the_command_that_makes_it(s3: Any) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_client_error("put_object", "NoSuchBucket", http_status_code=404)
        with pytest.raises(DataError, match="no bucket mine") as error:
            aws.upload(s3, [Asset("mine", "key", b"")])
    assert error.value.next_step == f"make it: aws s3 mb s3://mine --endpoint-url {URL}"


@pytest.mark.parametrize(
    ("code", "error"), [("InsufficientStorage", DiskFull), ("AccessDenied", ServiceError)]
)
def test_what_s3_refuses_is_an_error_of_this_project(
    s3: Any, code: str, error: type[MlopsError]
) -> None:
    with Stubber(s3) as stub:
        stub.add_client_error("head_object", "404", http_status_code=404)
        stub.add_client_error("put_object", code, "said why", http_status_code=403)
        with pytest.raises(error, match="said why"):
            aws.upload(s3, [Asset("mine", "key", b"")])


def test_an_s3_that_does_not_answer(s3: Any) -> None:
    with pytest.raises(EnvironmentLacks, match="does not answer") as error:
        aws.ensure_bucket(s3, "mine")
    assert error.value.where == URL


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_bucket_is_made_in_its_region(region: str) -> None:
    s3 = aws.gateway_session(URL, region).client("s3")
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with Stubber(s3) as stub:
        expected = {"Bucket": "mine", **({} if region == "us-east-1" else place)}
        stub.add_response("create_bucket", {}, expected)
        stub.add_client_error("create_bucket", "BucketAlreadyOwnedByYou", http_status_code=409)
        aws.ensure_bucket(s3, "mine")
        aws.ensure_bucket(s3, "mine")
        stub.assert_no_pending_responses()


def test_the_cloud_session_is_boto3s_own() -> None:
    assert type(aws.cloud_session("us-east-1")) is boto3.session.Session
