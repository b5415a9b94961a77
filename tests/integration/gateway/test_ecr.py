"""ECR through boto3: repositories, images by its own operations, what it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from mlops.app import compose_gateway
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime
from mlops.services.ecr.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_MANIFEST
from mlops.settings import Settings

from .conftest import ACCOUNT, check_answer

MIB = 1 << 20
ARN = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository"
LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny"}]})


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One gateway for this file: every test leaves it without repositories."""
    settings = Settings(store=tmp_path_factory.mktemp("ecr") / "store", account_id=ACCOUNT)
    with GatewayThread(compose_gateway(settings, FakeRuntime({}))) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1})
    session = boto3.Session("any", "thing", region_name="us-east-1")
    made = session.client("ecr", endpoint_url=url, config=config)
    made.meta.events.register("after-call", check_answer)
    return made


@pytest.fixture
def ecr(client: Any) -> Iterator[Any]:
    yield client
    for left in client.describe_repositories()["repositories"]:
        client.delete_repository(repositoryName=left["repositoryName"], force=True)


@pytest.fixture
def repository(ecr: Any) -> str:
    name: str = ecr.create_repository(repositoryName="team/app")["repository"]["repositoryName"]
    return name


def code_of(call: Callable[..., Any], **request: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**request)
    return str(refused.value.response["Error"]["Code"])


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def upload(ecr: Any, repository: str, data: bytes) -> str:
    """A layer by ECR's own operations; its digest."""
    started = ecr.initiate_layer_upload(repositoryName=repository)
    target = {"repositoryName": repository, "uploadId": started["uploadId"]}
    for first in range(0, len(data), started["partSize"]):
        part = data[first : first + started["partSize"]]
        answer = ecr.upload_layer_part(
            **target, partFirstByte=first, partLastByte=first + len(part) - 1, layerPartBlob=part
        )
        assert answer["lastByteReceived"] == first + len(part) - 1
    digest: str = ecr.complete_layer_upload(**target, layerDigests=[digest_of(data)])["layerDigest"]
    return digest


def manifest_of(config: bytes, *layers: bytes, **more: Any) -> str:
    def descriptor(data: bytes, media_type: str) -> dict[str, Any]:
        return {"mediaType": media_type, "size": len(data), "digest": digest_of(data)}

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": descriptor(config, "application/vnd.docker.container.image.v1+json"),
            "layers": [descriptor(layer, LAYER_TYPE) for layer in layers],
            **more,
        }
    )


def push(ecr: Any, repository: str, content: bytes, *tags: str) -> str:
    """A small image under some tags; its digest."""
    config = b'{"of": "' + content + b'"}'
    manifest = manifest_of(config, content)
    have = ecr.batch_check_layer_availability(
        repositoryName=repository, layerDigests=[digest_of(config), digest_of(content)]
    )["layers"]
    for data, layer in zip((config, content), have, strict=True):
        if layer["layerAvailability"] == "UNAVAILABLE":
            upload(ecr, repository, data)
    for tag in tags or (None,):
        named = {} if tag is None else {"imageTag": tag}
        ecr.put_image(repositoryName=repository, imageManifest=manifest, **named)
    return digest_of(manifest.encode())


# --- repositories ---


def test_a_repository_from_its_making_to_its_end(ecr: Any, url: str) -> None:
    made = ecr.create_repository(
        repositoryName="team/app",
        tags=[{"Key": "team", "Value": "größer"}],
        imageTagMutability="IMMUTABLE",
        imageScanningConfiguration={"scanOnPush": True},
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": "alias/own"},
    )["repository"]
    assert made["repositoryArn"] == f"{ARN}/team/app"
    assert made["repositoryUri"] == f"{url.partition('//')[2]}/team/app"
    assert (made["registryId"], made["imageTagMutability"]) == (ACCOUNT, "IMMUTABLE")
    assert made["imageScanningConfiguration"] == {"scanOnPush": True}
    assert made["encryptionConfiguration"]["kmsKey"] == "alias/own"
    assert code_of(ecr.create_repository, repositoryName="team/app") == (
        "RepositoryAlreadyExistsException"
    )
    (found,) = ecr.describe_repositories(repositoryNames=["team/app"])["repositories"]
    assert found == made
    assert ecr.delete_repository(repositoryName="team/app")["repository"] == made
    missing = {"repositoryName": "team/app"}
    for call in (ecr.delete_repository, ecr.list_images, ecr.describe_images):
        assert code_of(call, **missing) == "RepositoryNotFoundException"
    assert code_of(ecr.describe_repositories, repositoryNames=["team/app"]) == (
        "RepositoryNotFoundException"
    )


def test_another_account_has_none(ecr: Any, repository: str) -> None:
    other = {"registryId": "999999999999"}
    assert code_of(ecr.list_images, repositoryName=repository, **other) == (
        "RepositoryNotFoundException"
    )
    assert code_of(ecr.create_repository, repositoryName="other", **other) == (
        "RepositoryNotFoundException"
    )
    assert ecr.describe_repositories(**other)["repositories"] == []
    assert code_of(ecr.get_authorization_token, registryIds=["999999999999"]) == (
        "InvalidParameterException"
    )


def test_names_and_settings_that_are_none(ecr: Any, repository: str) -> None:
    for name in ("../etc", "Team", "a//b", "a" * 257, "a\nb"):
        assert code_of(ecr.create_repository, repositoryName=name) == "InvalidParameterException"
    for request, code in (
        ({"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"}, "InvalidParameterException"),
        ({"tags": [{"Key": "a", "Value": ""}] * 2}, "InvalidTagParameterException"),
    ):
        assert code_of(ecr.create_repository, repositoryName="other", **request) == code
    many = [{"Key": str(number), "Value": ""} for number in range(51)]
    assert code_of(ecr.create_repository, repositoryName="other", tags=many) == (
        "TooManyTagsException"
    )


def test_settings_are_changed(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
    ecr.put_image_tag_mutability(
        **named,
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters,
    )
    ecr.put_image_scanning_configuration(**named, imageScanningConfiguration={"scanOnPush": True})
    (found,) = ecr.describe_repositories()["repositories"]
    assert found["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    assert found["imageTagMutabilityExclusionFilters"] == filters
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}


def test_policies(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    for call in (ecr.get_repository_policy, ecr.delete_repository_policy):
        assert code_of(call, **named) == "RepositoryPolicyNotFoundException"
    assert code_of(ecr.set_repository_policy, **named, policyText="{") == (
        "InvalidParameterException"
    )
    ecr.set_repository_policy(**named, policyText=POLICY)
    assert ecr.get_repository_policy(**named)["policyText"] == POLICY
    assert ecr.delete_repository_policy(**named)["policyText"] == POLICY
    assert code_of(ecr.get_repository_policy, **named) == "RepositoryPolicyNotFoundException"


def test_a_lifecycle_policy_is_carried_out(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    digests = [push(ecr, repository, f"image {number}".encode(), "dev-1") for number in range(3)]
    kept = push(ecr, repository, b"kept", "prod-1")
    untagged = {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 1}
    rule = {"rulePriority": 1, "selection": untagged, "action": {"type": "expire"}}
    policy = json.dumps({"rules": [rule]})
    for call in (ecr.get_lifecycle_policy, ecr.delete_lifecycle_policy):
        assert code_of(call, **named) == "LifecyclePolicyNotFoundException"
    assert code_of(ecr.put_lifecycle_policy, **named, lifecyclePolicyText="{" * 100) == (
        "InvalidParameterException"
    )
    assert ecr.put_lifecycle_policy(**named, lifecyclePolicyText=policy)["lifecyclePolicyText"] == (
        policy
    )
    left = {each["imageDigest"] for each in ecr.list_images(**named)["imageIds"]}
    assert left == {digests[1], digests[2], kept}
    told = ecr.get_lifecycle_policy(**named)
    assert told["lastEvaluatedAt"] >= ecr.describe_repositories()["repositories"][0]["createdAt"]
    assert ecr.delete_lifecycle_policy(**named)["lifecyclePolicyText"] == policy
    assert code_of(ecr.get_lifecycle_policy, **named) == "LifecyclePolicyNotFoundException"


def test_tags_of_a_repository(ecr: Any, repository: str) -> None:
    arn = f"{ARN}/{repository}"
    ecr.tag_resource(resourceArn=arn, tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}])
    ecr.untag_resource(resourceArn=arn, tagKeys=["a", "z"])
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "b", "Value": ""}]
    ecr.delete_repository(repositoryName=repository)
    ecr.create_repository(repositoryName=repository)
    assert ecr.list_tags_for_resource(resourceArn=arn)["tags"] == []
    for other in (f"{ARN}/none", arn.replace("us-east-1", "eu-west-1")):
        assert code_of(ecr.list_tags_for_resource, resourceArn=other) == (
            "RepositoryNotFoundException"
        )
    assert code_of(ecr.list_tags_for_resource, resourceArn="x") == "InvalidParameterException"


def test_repositories_in_pages(ecr: Any) -> None:
    names = [f"repo-{number}" for number in range(5)]
    for name in names:
        ecr.create_repository(repositoryName=name)
    pages = ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2})
    read = [[each["repositoryName"] for each in page["repositories"]] for page in pages]
    assert read == [names[:2], names[2:4], names[4:]]
    assert code_of(ecr.describe_repositories, nextToken="x") == "InvalidParameterException"
    token = ecr.describe_repositories(maxResults=2)["nextToken"]
    assert code_of(ecr.describe_repositories, nextToken=token, repositoryNames=["repo-0"]) == (
        "InvalidParameterException"
    )


def test_what_nobody_here_would_do_is_refused_by_name(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    for call, request, why in (
        (ecr.start_lifecycle_policy_preview, {}, "at once"),
        (ecr.describe_image_scan_findings, {"imageId": {"imageTag": "x"}}, "scans images"),
        (ecr.start_image_scan, {"imageId": {"imageTag": "x"}}, "scans images"),
    ):
        with pytest.raises(ClientError, match=why) as refused:
            call(**named, **request)
        assert refused.value.response["Error"]["Code"] == "NotImplemented"
    assert code_of(ecr.describe_registry) == "NotImplemented"


# --- images ---


def test_an_image_from_its_push_to_its_end(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    digest = push(ecr, repository, b"one", "v1", "latest")
    (detail,) = ecr.describe_images(**named)["imageDetails"]
    assert (detail["imageDigest"], detail["imageTags"]) == (digest, ["latest", "v1"])
    assert detail["imageSizeInBytes"] == len(b'{"of": "one"}') + 3
    assert detail["imageManifestMediaType"] == DOCKER_MANIFEST
    assert detail["artifactMediaType"] == "application/vnd.docker.container.image.v1+json"
    got = ecr.batch_get_image(**named, imageIds=[{"imageTag": "v1"}])
    (image,) = got["images"]
    assert image["imageId"] == {"imageDigest": digest, "imageTag": "v1"}
    assert digest_of(image["imageManifest"].encode()) == digest
    assert code_of(ecr.put_image, **named, imageManifest=image["imageManifest"], imageTag="v1") == (
        "ImageAlreadyExistsException"
    )
    assert code_of(ecr.delete_repository, **named) == "RepositoryNotEmptyException"
    # A tag goes alone, the last one takes its image with it.
    gone = ecr.batch_delete_image(**named, imageIds=[{"imageTag": "v1"}])
    assert gone["imageIds"] == [{"imageDigest": digest, "imageTag": "v1"}]
    assert len(ecr.list_images(**named)["imageIds"]) == 1
    gone = ecr.batch_delete_image(**named, imageIds=[{"imageTag": "latest"}])
    assert gone["imageIds"] == [{"imageDigest": digest, "imageTag": "latest"}]
    assert ecr.list_images(**named)["imageIds"] == []
    assert code_of(ecr.describe_images, **named, imageIds=[{"imageTag": "v1"}]) == (
        "ImageNotFoundException"
    )


def test_a_tag_moves_unless_it_may_not(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    first, second = push(ecr, repository, b"one", "v1"), push(ecr, repository, b"two", "v1")
    listed = ecr.list_images(**named, filter={"tagStatus": "UNTAGGED"})["imageIds"]
    assert listed == [{"imageDigest": first}]
    ecr.put_image_tag_mutability(**named, imageTagMutability="IMMUTABLE")
    third = b"three"
    upload(ecr, repository, third)
    for tag, code in (("v1", "ImageTagAlreadyExistsException"), ("v2", None)):
        request = {"imageManifest": manifest_of(b'{"of": "two"}', third), "imageTag": tag}
        if code:
            assert code_of(ecr.put_image, **named, **request) == code
        else:
            ecr.put_image(**named, **request)
    tagged = ecr.list_images(**named, filter={"tagStatus": "TAGGED"})["imageIds"]
    assert {each["imageTag"]: each["imageDigest"] for each in tagged}["v1"] == second
    assert ecr.list_images(**named, filter={"imageStatus": "ARCHIVED"})["imageIds"] == []


def test_images_in_pages(ecr: Any, repository: str) -> None:
    digests = [push(ecr, repository, f"image {number}".encode(), f"v{number}") for number in (0, 1)]
    for operation, member in (("list_images", "imageIds"), ("describe_images", "imageDetails")):
        pages = ecr.get_paginator(operation).paginate(
            repositoryName=repository, PaginationConfig={"PageSize": 1}
        )
        assert [[each["imageDigest"] for each in page[member]] for page in pages] == [
            [digest] for digest in digests
        ]


def test_what_cannot_be_put(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    unknown = manifest_of(b"{}", b"nobody pushed this")
    assert code_of(ecr.put_image, **named, imageManifest=unknown) == "LayersNotFoundException"
    assert code_of(ecr.put_image, **named, imageManifest="{") == "InvalidParameterException"
    index = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []}
    index["manifests"] = [{"mediaType": "x", "size": 1, "digest": digest_of(b"x")}]
    assert code_of(ecr.put_image, **named, imageManifest=json.dumps(index)) == (
        "ReferencedImagesNotFoundException"
    )
    push(ecr, repository, b"one", "v1")
    manifest = manifest_of(b'{"of": "one"}', b"one")
    for request, code in (
        ({"imageTag": "-x"}, "InvalidParameterException"),
        ({"imageTag": "x", "imageManifestMediaType": OCI_MANIFEST}, "InvalidParameterException"),
        ({"imageTag": "x", "imageDigest": digest_of(b"")}, "ImageDigestDoesNotMatchException"),
    ):
        assert code_of(ecr.put_image, **named, imageManifest=manifest, **request) == code


def test_a_list_keeps_its_images(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    digest = push(ecr, repository, b"one", "v1")
    child = {"mediaType": DOCKER_MANIFEST, "size": 1, "digest": digest}
    index = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [child]}
    ecr.put_image(**named, imageManifest=json.dumps(index), imageTag="all")
    (detail,) = ecr.describe_images(**named, imageIds=[{"imageTag": "all"}])["imageDetails"]
    assert detail["imageSizeInBytes"] == len(b'{"of": "one"}') + 3
    answer = ecr.batch_delete_image(**named, imageIds=[{"imageDigest": digest}])
    assert answer["failures"][0]["failureCode"] == "ImageReferencedByManifestList"
    both = [{"imageTag": "all"}, {"imageDigest": digest}]
    assert ecr.batch_delete_image(**named, imageIds=both)["failures"] == []


def test_failures_of_a_batch(ecr: Any, repository: str) -> None:
    digest = push(ecr, repository, b"one", "v1")
    other = push(ecr, repository, b"two", "v2")
    wrong = [
        ({"imageTag": "none"}, "ImageNotFound"),
        ({"imageDigest": digest_of(b"none")}, "ImageNotFound"),
        ({"imageDigest": "x"}, "InvalidImageDigest"),
        ({"imageTag": "v1", "imageDigest": other}, "ImageTagDoesNotMatchDigest"),
        ({}, "MissingDigestAndTag"),
    ]
    identities = [identity for identity, _ in wrong]
    for call in (ecr.batch_get_image, ecr.batch_delete_image):
        failures = call(repositoryName=repository, imageIds=identities)["failures"]
        assert [each["failureCode"] for each in failures] == [code for _, code in wrong]
        assert [each.get("imageId", {}) for each in failures] == identities
    answer = ecr.batch_get_image(
        repositoryName=repository,
        imageIds=[{"imageDigest": digest}],
        acceptedMediaTypes=[OCI_MANIFEST],
    )
    assert answer["failures"][0]["failureCode"] == "ImageNotFound"


# --- layers ---


def test_a_layer_in_parts_and_its_address(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    layer = bytes(range(256)) * (11 * MIB // 256)
    digest = upload(ecr, repository, layer)
    assert code_of(ecr.get_download_url_for_layer, **named, layerDigest=digest) == (
        "LayerInaccessibleException"
    )
    config = b"{}"
    upload(ecr, repository, config)
    ecr.put_image(**named, imageManifest=manifest_of(config, layer), imageTag="v1")
    address = ecr.get_download_url_for_layer(**named, layerDigest=digest)["downloadUrl"]
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.read() == layer
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address[:-1], timeout=60)
    checked = ecr.batch_check_layer_availability(
        **named, layerDigests=[digest, digest_of(b"none"), "x", ""]
    )
    assert [each["layerAvailability"] for each in checked["layers"]] == ["AVAILABLE", "UNAVAILABLE"]
    assert checked["layers"][0]["layerSize"] == len(layer)
    assert checked["layers"][0]["mediaType"] == LAYER_TYPE
    codes = [each["failureCode"] for each in checked["failures"]]
    assert codes == ["InvalidLayerDigest", "MissingLayerDigest"]


def test_uploads_that_are_none(ecr: Any, repository: str) -> None:
    named = {"repositoryName": repository}
    started = ecr.initiate_layer_upload(**named)["uploadId"]
    target = {**named, "uploadId": started}
    assert code_of(ecr.complete_layer_upload, **target, layerDigests=[digest_of(b"")]) == (
        "EmptyUploadException"
    )
    for first, last in ((1, 3), (0, 1), (0, 3)):
        assert code_of(
            ecr.upload_layer_part,
            **target,
            partFirstByte=first,
            partLastByte=last,
            layerPartBlob=b"abc",
        ) == ("InvalidLayerPartException")
    for first in (0, 3):
        ecr.upload_layer_part(
            **target, partFirstByte=first, partLastByte=first + 2, layerPartBlob=b"abc"
        )
    assert code_of(ecr.complete_layer_upload, **target, layerDigests=[digest_of(b"abcabc")]) == (
        "LayerPartTooSmallException"
    )
    unknown = {**named, "uploadId": "0" * 8 + "-0000-0000-0000-" + "0" * 12}
    assert code_of(ecr.complete_layer_upload, **unknown, layerDigests=[digest_of(b"")]) == (
        "UploadNotFoundException"
    )


def test_a_layer_of_another_digest_or_a_second_time(ecr: Any, repository: str) -> None:
    upload(ecr, repository, b"abc")
    for digest, code in (
        (digest_of(b"other"), "InvalidLayerException"),
        (digest_of(b"abc"), "LayerAlreadyExistsException"),
    ):
        started = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        target = {"repositoryName": repository, "uploadId": started}
        ecr.upload_layer_part(**target, partFirstByte=0, partLastByte=2, layerPartBlob=b"abc")
        assert code_of(ecr.complete_layer_upload, **target, layerDigests=[digest]) == code


def test_a_token_opens_the_registry(ecr: Any, url: str) -> None:
    (data,) = ecr.get_authorization_token()["authorizationData"]
    assert data["proxyEndpoint"] == url
    assert base64.b64decode(data["authorizationToken"]).startswith(b"AWS:")
    request = urllib.request.Request(
        f"{url}/v2/", headers={"Authorization": f"Basic {data['authorizationToken']}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
