"""What a manifest has to be, and what it says of itself."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.ecr.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, parse_manifest

CONFIG, LAYER, FOREIGN = ("sha256:" + digit * 64 for digit in "abc")
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"


def descriptor(digest: str, size: int = 10, **more: Any) -> dict[str, Any]:
    return {"mediaType": "application/x", "digest": digest, "size": size, **more}


def image(**more: Any) -> dict[str, Any]:
    config = descriptor(CONFIG, 5, mediaType=CONFIG_TYPE)
    layers = [descriptor(LAYER, 100)]
    return {"schemaVersion": 2, "config": config, "layers": layers, **more}


def packed(document: object) -> bytes:
    return json.dumps(document).encode()


def test_an_image() -> None:
    data = packed(image(mediaType=DOCKER_MANIFEST))
    manifest = parse_manifest(data, None)
    assert manifest.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert list(manifest.layers) == [CONFIG, LAYER]
    assert (manifest.size, manifest.artifact_type) == (105, CONFIG_TYPE)


def test_a_layer_that_is_kept_elsewhere_need_not_be_here() -> None:
    document = image()
    document["layers"].append(descriptor(FOREIGN, urls=["https://example.com"]))
    assert FOREIGN not in parse_manifest(packed(document), DOCKER_MANIFEST).layers


def test_a_list_and_a_subject() -> None:
    index = {"schemaVersion": 2, "manifests": [descriptor(LAYER)], "subject": descriptor(CONFIG)}
    manifest = parse_manifest(packed(index), OCI_INDEX)
    assert (manifest.manifests, manifest.layers) == ((LAYER,), {})
    assert (manifest.subject, manifest.size) == (CONFIG, 0)


@pytest.mark.parametrize(
    ("data", "media_type", "why"),
    [
        (b"{", DOCKER_MANIFEST, "no JSON"),
        (b"[" * 100_000, DOCKER_MANIFEST, "no JSON"),
        (b"[]", DOCKER_MANIFEST, "no JSON object"),
        (packed({"schemaVersion": 1}), DOCKER_MANIFEST, "schemaVersion"),
        (packed(image()), None, "no mediaType"),
        (packed(image()), "text/plain", "media type is text/plain"),
        (packed(image(mediaType=OCI_MANIFEST)), DOCKER_MANIFEST, "it was sent as"),
        (packed(image(config=None)), OCI_MANIFEST, "config is no descriptor"),
        (packed(image(layers=None)), OCI_MANIFEST, "layers is no list"),
        (packed(image(layers=[descriptor("sha256:../../x")])), OCI_MANIFEST, "no sha256"),
        (packed(image(layers=[descriptor(LAYER, -1)])), OCI_MANIFEST, "size"),
        (packed(image(annotations=["x"])), OCI_MANIFEST, "annotations"),
        (b" " * 5_000_000, OCI_MANIFEST, "5,000,000 bytes"),
    ],
)
def test_refused(data: bytes, media_type: str | None, why: str) -> None:
    with pytest.raises(ServiceError, match=why) as refused:
        parse_manifest(data, media_type)
    assert refused.value.code == "InvalidParameterException"
