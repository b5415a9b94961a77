"""Which image URIs name the gateway's own registry, in their parts."""

from __future__ import annotations

import pytest

from mlops.image_uri import ImageUri, parse_image_uri

DIGEST = "sha256:" + "a" * 64
CLOUD = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:4000/team/app:v1", ImageUri("127.0.0.1:4000", "team/app", "v1", None)),
        ("localhost/app", ImageUri("localhost", "app", "latest", None)),
        (f"{CLOUD}/app@{DIGEST}", ImageUri(CLOUD, "app", None, DIGEST)),
        (f"{CLOUD}/app:v1@{DIGEST}", ImageUri(CLOUD, "app", "v1", DIGEST)),
    ],
)
def test_parts(text: str, expected: ImageUri) -> None:
    assert parse_image_uri(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "app:v1",
        "127.0.0.1:4000/../app:v1",
        "127.0.0.1:4000/App:v1",
        "127.0.0.1:4000/app:",
        "127.0.0.1:4000/app:-v1",
        "127.0.0.1:4000/app@sha256:abc",
        "127.0.0.1:4000/app:v1\nX: y",
        "",
    ],
)
def test_no_image_uri(text: str) -> None:
    assert parse_image_uri(text) is None


@pytest.mark.parametrize(
    ("registry", "local", "in_cloud"),
    [
        ("127.0.0.1:4000", True, False),
        ("localhost", True, False),
        ("localhost.example.com", False, False),
        (CLOUD, False, True),
        (CLOUD.replace("eu-west-1", "eu-west-2"), False, False),
        (CLOUD.replace("1234", "4321"), False, False),
        (f"{CLOUD}.cn", False, True),
        (f"evil-{CLOUD}", False, False),
    ],
)
def test_whose_registry(registry: str, local: bool, in_cloud: bool) -> None:
    uri = ImageUri(registry, "app", "latest", None)
    assert (uri.is_local, uri.is_in_cloud("123456789012", "eu-west-1")) == (local, in_cloud)
