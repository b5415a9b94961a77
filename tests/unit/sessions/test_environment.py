import contextlib
import os

import boto3
import pytest

from mlops.sessions.environment import pointed_at_gateway
from mlops.settings import Settings

URL = "http://127.0.0.1:9"
SETTINGS = Settings(region="eu-west-1")


def test_every_client_made_meanwhile_talks_to_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    public = "https://sts.eu-west-1.amazonaws.com"
    with pointed_at_gateway(URL, SETTINGS):
        session = boto3.Session()
        clients = [
            boto3.client("s3"),
            session.client("sts", endpoint_url=public),
            session.client("sagemaker", region_name="us-west-2"),
            session.resource("s3").meta.client,
        ]
        assert session.region_name == "eu-west-1"
    assert [client.meta.endpoint_url for client in clients] == [URL] * 4


def test_all_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("NO_PROXY", "intranet")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://example.com")
    monkeypatch.delenv("AWS_REGION", raising=False)
    before, default = dict(os.environ), boto3.DEFAULT_SESSION
    with contextlib.suppress(RuntimeError), pointed_at_gateway(URL, SETTINGS):
        assert os.environ["NO_PROXY"] == "intranet,127.0.0.1,localhost"
        assert "AWS_PROFILE" not in os.environ
        assert "AWS_ENDPOINT_URL_S3" not in os.environ
        os.environ["AWS_DEFAULT_OUTPUT"] = "json"  # code that is run may set some itself
        raise RuntimeError
    assert dict(os.environ) == before
    assert boto3.DEFAULT_SESSION is default


def test_clients_afterwards_are_boto3s_own() -> None:
    with pointed_at_gateway(URL, SETTINGS):
        pass
    session = boto3.Session(
        aws_access_key_id="a", aws_secret_access_key="b", region_name="eu-west-1"
    )
    assert "amazonaws.com" in session.client("sts").meta.endpoint_url
