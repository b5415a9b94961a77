"""What broken pushes leave, and which image URIs are this registry's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops.errors import ImageUnavailable, ServiceError
from mlops.services.ecr import EcrService, Registry, image_source
from mlops.services.ecr.manifest import OCI_MANIFEST
from mlops.settings import Settings
from mlops.stores.blobs import FileBlobStore
from mlops.stores.state import SqliteStateStore

ACCOUNT = "123456789012"
CONFIG, LAYER = b"{}", b"layer"


class SetClock:
    def __init__(self) -> None:
        self.at = datetime.now(UTC)  # files have times of the real clock

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobStore:
    return FileBlobStore(tmp_path / "registry")


@pytest.fixture
def registry(tmp_path: Path, clock: SetClock, blobs: FileBlobStore) -> Iterator[Registry]:
    state = SqliteStateStore(tmp_path / "state.db")
    settings = Settings(store=tmp_path, account_id=ACCOUNT, region="eu-west-1")
    made = Registry(
        state, blobs, settings, clock, lambda: "127.0.0.1:4000", tmp_path / "registry/key"
    )
    made.repositories.create({"repositoryName": "app"})
    yield made
    state.close()


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def upload(registry: Registry, data: bytes) -> str:
    name = registry.layers.begin("app")
    registry.layers.append("app", name, [data])
    registry.layers.finish("app", name, digest_of(data))
    return digest_of(data)


def push(registry: Registry, tag: str) -> str:
    config, layer = upload(registry, CONFIG), upload(registry, LAYER)
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": config, "size": len(CONFIG)},
        "layers": [{"digest": layer, "size": len(LAYER)}],
    }
    image, _ = registry.images.put(
        "app", json.dumps(manifest).encode(), media_type=OCI_MANIFEST, tag=tag
    )
    return image.digest


def test_what_broke_off_a_day_ago_goes(
    registry: Registry, blobs: FileBlobStore, clock: SetClock, tmp_path: Path
) -> None:
    image = push(registry, "v1")
    registry.layers.append("app", registry.layers.begin("app"), [b"half"])
    upload(registry, b"of an image that never came")
    blobs.put(b"a manifest without its record")
    blobs.begin("nobodys")
    for file in (tmp_path / "registry/uploads").iterdir():
        os.utime(file, (clock.at.timestamp(), clock.at.timestamp()))
    clock.at += timedelta(days=1, hours=1)
    grows = registry.layers.begin("app")  # the first upload for an hour sweeps
    assert set(blobs.uploads()) == {grows}
    assert set(blobs.digests()) == {image, digest_of(CONFIG), digest_of(LAYER)}


def test_what_is_on_its_way_stays(
    registry: Registry, blobs: FileBlobStore, clock: SetClock
) -> None:
    half = registry.layers.begin("app")
    layer = upload(registry, LAYER)
    clock.at += timedelta(hours=23)
    registry.layers.sweep()
    assert registry.layers.size("app", layer) == len(LAYER)
    assert registry.layers.received("app", half) == 0


def test_an_upload_does_not_outlive_its_repository(
    registry: Registry, blobs: FileBlobStore
) -> None:
    half = registry.layers.begin("app")
    registry.repositories.delete({"repositoryName": "app"})
    for call in (
        lambda: registry.layers.append("app", half, [b"x"]),
        lambda: registry.layers.finish("app", half, digest_of(b"")),
    ):
        with pytest.raises(ServiceError) as refused:
            call()
        assert refused.value.code == "RepositoryNotFoundException"
    assert blobs.uploads() == {}


def test_an_upload_is_one_repositorys(registry: Registry) -> None:
    registry.repositories.create({"repositoryName": "other"})
    half = registry.layers.begin("app")
    with pytest.raises(ServiceError) as refused:
        registry.layers.append("other", half, [b"x"])
    assert refused.value.code == "UploadNotFoundException"


def test_image_uris_of_this_registry(registry: Registry) -> None:
    digest, find = push(registry, "v1"), image_source(registry)
    cloud = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
    for uri in (
        f"{cloud}/app:v1",
        f"{cloud}/app@{digest}",
        "127.0.0.1:4000/app:v1",
        "localhost:1/app:v1",
    ):
        found = find(uri)
        assert found is not None
        assert found.reference == f"127.0.0.1:4000/app@{digest}"
        assert found.password not in repr(found)
    for uri in (
        "app:v1",
        "docker.io/app:v1",
        f"{cloud}/other:v1",
        f"{cloud.replace('eu', 'us')}/app:v1",
        f"{cloud.replace('1', '2')}/app:v1",
        "127.0.0.1:4000/other:v1",
    ):
        assert find(uri) is None
    with pytest.raises(ImageUnavailable, match="has no image latest"):
        find(f"{cloud}/app")


def test_a_lifecycle_policy_is_carried_out_every_hour(registry: Registry, clock: SetClock) -> None:
    image, service = push(registry, "v1"), EcrService(registry)
    selection = {"tagStatus": "any", "countType": "sinceImagePushed", "countUnit": "days"}
    rule = {"rulePriority": 1, "selection": {**selection, "countNumber": 7}}
    policy = json.dumps({"rules": [{**rule, "action": {"type": "expire"}}]})
    named = {"repositoryName": "app"}
    service.handle("PutLifecyclePolicy", {**named, "lifecyclePolicyText": policy})
    assert service.handle("ListImages", named)["imageIds"] == [
        {"imageDigest": image, "imageTag": "v1"}
    ]
    clock.at += timedelta(days=7, minutes=1)
    assert service.handle("ListImages", named)["imageIds"] == []
    evaluated = service.handle("GetLifecyclePolicy", named)["lastEvaluatedAt"]
    assert evaluated == pytest.approx(clock.at.timestamp(), abs=0.01)
