"""The distribution API as a client of it sees it: push, pull, discovery, what it refuses."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from mlops.app import compose_gateway
from mlops.errors import ImageUnavailable
from mlops.gateway.client import GatewayClient
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime
from mlops.services.ecr.manifest import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from mlops.settings import Settings

from .conftest import ACCOUNT

NAME = "team/app"
LAYER = b"0123456789"
CONFIG = b"{}"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def manifest_of(*layers: bytes, **more: Any) -> bytes:
    def descriptor(data: bytes) -> dict[str, Any]:
        return {"mediaType": "application/x", "size": len(data), "digest": digest_of(data)}

    whole = {"config": descriptor(CONFIG), "layers": [descriptor(each) for each in layers]}
    return json.dumps({"schemaVersion": 2, **whole, **more}).encode()


class Site:
    """A gateway, logged in to its registry."""

    def __init__(self, url: str, store: Path, ecr: Any = None) -> None:
        self.url = url
        self.store = store
        self.ecr = ecr or ecr_at(url)
        self.http = requests.Session()
        self.http.headers["Authorization"] = f"Basic {token_of(self.ecr)}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.http.request(method, f"{self.url}{path}", timeout=60, **more)

    def push_layer(self, name: str, data: bytes) -> None:
        path = f"/v2/{name}/blobs/uploads/?digest={digest_of(data)}"
        assert self.call("POST", path, data=data).status_code == 201

    def push(self, name: str, tag: str, *layers: bytes, **more: Any) -> str:
        for data in (CONFIG, *layers):
            self.push_layer(name, data)
        manifest = manifest_of(*layers, **more)
        answer = self.put_manifest(name, tag, manifest)
        assert answer.status_code == 201, answer.text
        return digest_of(manifest)

    def put_manifest(
        self, name: str, reference: str, data: bytes, media_type: str = OCI_MANIFEST
    ) -> requests.Response:
        headers = {"Content-Type": media_type}
        return self.call("PUT", f"/v2/{name}/manifests/{reference}", data=data, headers=headers)

    def files(self) -> set[str]:
        """The digests of all contents on disk."""
        return {f"sha256:{path.name}" for path in (self.store / "registry/blobs/sha256").iterdir()}

    def uploads(self) -> set[str]:
        return {path.name for path in (self.store / "registry/uploads").iterdir()}


def ecr_at(url: str) -> Any:
    return boto3.Session("any", "thing", region_name="us-east-1").client("ecr", endpoint_url=url)


def token_of(ecr: Any) -> str:
    token: str = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    return token


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = Settings(store=tmp_path_factory.mktemp("registry") / "store", account_id=ACCOUNT)
    with GatewayThread(compose_gateway(settings, FakeRuntime({}))) as url:
        yield Site(url, settings.store)


@pytest.fixture
def site(gateway: Site) -> Iterator[Site]:
    """The gateway with one repository; no content may be left when its repositories are gone."""
    gateway.ecr.create_repository(repositoryName=NAME)
    yield gateway
    for left in gateway.ecr.describe_repositories()["repositories"]:
        gateway.ecr.delete_repository(repositoryName=left["repositoryName"], force=True)
    if (gateway.store / "registry/blobs").exists():
        assert gateway.files() == set()


def error_of(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["errors"][0]["code"]


# --- who may ---


def test_nobody_without_a_password(site: Site) -> None:
    for method, path in (
        ("GET", "/v2/"),
        ("GET", "/v2"),
        ("GET", "/v2/_catalog"),
        ("POST", f"/v2/{NAME}/blobs/uploads/"),
        ("GET", "/v2/any/where"),
    ):
        for headers in ({}, {"Authorization": "Basic QVdTOng="}, {"Authorization": "Bearer x"}):
            answer = requests.request(
                method, f"{site.url}{path}", headers=headers, data=b"x" * 100, timeout=60
            )
            assert error_of(answer) == (401, "UNAUTHORIZED")
            assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert site.call("GET", "/v2/").json() == {}


def test_a_bucket_of_that_path_under_its_own_host_is_s3(site: Site) -> None:
    host = site.url.rpartition(":")[2]
    answer = requests.get(
        f"{site.url}/v2/some/key", headers={"Host": f"bucket.localhost:{host}"}, timeout=60
    )
    assert "NoSuchBucket" in answer.text


# --- pushing layers ---


def test_in_chunks(site: Site) -> None:
    started = site.call("POST", f"/v2/{NAME}/blobs/uploads/")
    assert (started.status_code, started.headers["Range"]) == (202, "0-0")
    place = started.headers["Location"]
    first = site.call("PATCH", place, data=LAYER[:4], headers={"Content-Range": "0-3"})
    assert (first.status_code, first.headers["Range"]) == (202, "0-3")
    again = site.call("PATCH", place, data=LAYER[:4], headers={"Content-Range": "0-3"})
    assert (error_of(again), again.headers["Range"]) == ((416, "RANGE_INVALID"), "0-3")
    short = site.call("PATCH", place, data=b"45", headers={"Content-Range": "4-9"})
    assert error_of(short) == (400, "SIZE_INVALID")
    status = site.call("GET", place)
    assert (status.status_code, status.headers["Range"]) == (204, "0-3")
    site.call("PATCH", place, data=iter([LAYER[4:6], LAYER[6:8]]))
    ended = site.call("PUT", f"{place}?digest={digest_of(LAYER)}", data=LAYER[8:])
    assert ended.status_code == 201
    assert ended.headers["Docker-Content-Digest"] == digest_of(LAYER)
    assert site.call("GET", ended.headers["Location"]).content == LAYER
    assert error_of(site.call("GET", place)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_another_digest_leaves_nothing(site: Site) -> None:
    wrong = digest_of(b"other")
    place = site.call("POST", f"/v2/{NAME}/blobs/uploads/").headers["Location"]
    answer = site.call("PUT", f"{place}?digest={wrong}", data=LAYER)
    assert error_of(answer) == (400, "DIGEST_INVALID")
    assert error_of(site.call("GET", place)) == (404, "BLOB_UPLOAD_UNKNOWN")
    answer = site.call("POST", f"/v2/{NAME}/blobs/uploads/?digest={wrong}", data=LAYER)
    assert error_of(answer) == (400, "DIGEST_INVALID")
    assert (site.uploads(), site.files()) == (set(), set())
    assert site.call("HEAD", f"/v2/{NAME}/blobs/{wrong}").status_code == 404


def test_cancelled(site: Site) -> None:
    place = site.call("POST", f"/v2/{NAME}/blobs/uploads/").headers["Location"]
    site.call("PATCH", place, data=LAYER)
    assert site.call("DELETE", place).status_code == 204
    assert error_of(site.call("PATCH", place, data=LAYER)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert site.uploads() == set()


def test_half_sent_can_be_gone_on_with(site: Site) -> None:
    place = site.call("POST", f"/v2/{NAME}/blobs/uploads/").headers["Location"]
    host, port = site.url.partition("//")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as sender:
        head = f"PATCH {place} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n"
        login = f"Authorization: {site.http.headers['Authorization']!s}\r\n\r\n"
        sender.sendall(head.encode() + login.encode() + LAYER[:6])
        sender.shutdown(socket.SHUT_WR)
        assert sender.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert site.call("GET", place).headers["Range"] == "0-5"
    ended = site.call("PUT", f"{place}?digest={digest_of(LAYER)}", data=LAYER[6:])
    assert ended.status_code == 201


def test_from_another_repository(site: Site) -> None:
    site.ecr.create_repository(repositoryName="other")
    mount = f"/v2/other/blobs/uploads/?mount={digest_of(LAYER)}&from={NAME}"
    assert site.call("POST", mount).status_code == 202  # not there: an upload like any other
    site.push_layer(NAME, LAYER)
    answer = site.call("POST", mount)
    assert (answer.status_code, answer.headers["Location"]) == (
        201,
        f"/v2/other/blobs/{digest_of(LAYER)}",
    )
    site.ecr.delete_repository(repositoryName=NAME, force=True)
    assert site.call("GET", f"/v2/other/blobs/{digest_of(LAYER)}").content == LAYER
    site.ecr.delete_repository(repositoryName="other", force=True)
    assert (site.files(), site.uploads()) == (set(), set())


def test_the_same_layer_by_many_at_once(site: Site) -> None:
    data = b"x" * 3_000_000
    statuses: list[int] = []

    def push() -> None:
        path = f"{site.url}/v2/{NAME}/blobs/uploads/?digest={digest_of(data)}"
        answer = requests.post(path, data=data, headers=dict(site.http.headers), timeout=60)
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=push) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 8
    assert (site.files(), site.uploads()) == ({digest_of(data)}, set())


# --- pulling ---


def test_a_layer_in_parts(site: Site) -> None:
    site.push_layer(NAME, LAYER)
    path = f"/v2/{NAME}/blobs/{digest_of(LAYER)}"
    head = site.call("HEAD", path)
    assert (head.headers["Content-Length"], head.headers["Accept-Ranges"]) == ("10", "bytes")
    part = site.call("GET", path, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["Content-Range"] == "bytes 2-4/10"
    beyond = site.call("GET", path, headers={"Range": "bytes=10-"})
    assert error_of(beyond) == (416, "RANGE_INVALID")
    assert error_of(site.call("GET", f"/v2/{NAME}/blobs/{digest_of(b'no')}")) == (
        404,
        "BLOB_UNKNOWN",
    )


def test_an_image_by_tag_and_by_digest(site: Site) -> None:
    digest = site.push(NAME, "v1", LAYER)
    for reference in ("v1", digest):
        answer = site.call("GET", f"/v2/{NAME}/manifests/{reference}")
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.headers["Docker-Content-Digest"] == digest == digest_of(answer.content)
        head = site.call("HEAD", f"/v2/{NAME}/manifests/{reference}")
        assert head.headers["Content-Length"] == str(len(answer.content))
    (detail,) = site.ecr.describe_images(repositoryName=NAME)["imageDetails"]
    assert detail["lastRecordedPullTime"] >= detail["imagePushedAt"]
    again = site.put_manifest(NAME, "v1", manifest_of(LAYER))  # a second push changes nothing
    assert again.status_code == 201


# --- images that may not come ---


def test_ecrs_own_rules(site: Site) -> None:
    nowhere = site.call("POST", "/v2/nowhere/blobs/uploads/")
    assert error_of(nowhere) == (404, "NAME_UNKNOWN")
    assert "does not exist in the registry with id" in nowhere.text
    site.ecr.put_image_tag_mutability(repositoryName=NAME, imageTagMutability="IMMUTABLE")
    site.push(NAME, "v1", LAYER)
    site.push_layer(NAME, b"other")
    refused = site.put_manifest(NAME, "v1", manifest_of(b"other"))
    assert error_of(refused) == (400, "TAG_INVALID")
    assert "immutable" in refused.text


@pytest.mark.parametrize(
    ("reference", "data", "media_type", "expected"),
    [
        ("v1", manifest_of(b"unknown"), OCI_MANIFEST, (404, "MANIFEST_BLOB_UNKNOWN")),
        ("v1", b"{", OCI_MANIFEST, (400, "MANIFEST_INVALID")),
        ("v1", manifest_of(), "text/plain", (400, "MANIFEST_INVALID")),
        ("v1", manifest_of(mediaType=OCI_MANIFEST), DOCKER_MANIFEST, (400, "MANIFEST_INVALID")),
        ("v1", b"x" * 4_200_000, OCI_MANIFEST, (413, "MANIFEST_INVALID")),
        (digest_of(b"other"), manifest_of(), OCI_MANIFEST, (400, "DIGEST_INVALID")),
        ("sha256:x", manifest_of(), OCI_MANIFEST, (400, "DIGEST_INVALID")),
        ("x" * 129, manifest_of(), OCI_MANIFEST, (400, "TAG_INVALID")),
    ],
)
def test_manifests_that_are_none(
    site: Site, reference: str, data: bytes, media_type: str, expected: tuple[int, str]
) -> None:
    site.push_layer(NAME, CONFIG)
    assert error_of(site.put_manifest(NAME, reference, data, media_type)) == expected
    assert site.call("GET", f"/v2/{NAME}/tags/list").json()["tags"] == []


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2/../../etc/passwd", (404, "UNSUPPORTED")),
        ("GET", "/v2/..%2f..%2fetc/manifests/v1", (400, "NAME_INVALID")),
        ("GET", "/v2/%2e%2e/blobs/" + digest_of(b""), (400, "NAME_INVALID")),
        ("GET", f"/v2/{NAME}/blobs/sha256:..%2f..%2fkey", (400, "DIGEST_INVALID")),
        ("GET", f"/v2/{NAME}/manifests/v1%0d%0aX-Evil:%201", (400, "DIGEST_INVALID")),
        ("GET", f"/v2/{NAME}/manifests/v1%0d%0aX", (400, "TAG_INVALID")),
        ("PATCH", f"/v2/{NAME}/blobs/uploads/..%2f..%2fkey", (404, "BLOB_UPLOAD_UNKNOWN")),
        ("POST", f"/v2/{NAME}/blobs/uploads/?digest=sha512:aa", (400, "DIGEST_INVALID")),
        ("POST", f"/v2/{NAME}/blobs/uploads/?mount=x&from={NAME}", (400, "DIGEST_INVALID")),
        ("GET", f"/v2/{NAME}/tags/list?n=-1", (400, "PAGINATION_NUMBER_INVALID")),
        ("PUT", f"/v2/{NAME}/tags/list", (405, "UNSUPPORTED")),
        ("GET", "/v2/" + "a" * 3000, (404, "UNSUPPORTED")),
        ("GET", "/v2/nowhere/tags/list", (404, "NAME_UNKNOWN")),
    ],
)
def test_requests_that_are_none(
    site: Site, method: str, path: str, expected: tuple[int, str]
) -> None:
    prepared = site.http.prepare_request(requests.Request(method, f"{site.url}/x"))
    prepared.url = f"{site.url}{path}"  # as it is: requests would tidy it up
    answer = site.http.send(prepared, timeout=60)
    assert error_of(answer) == expected
    assert "X-Evil" not in answer.headers


# --- what there is, and what goes ---


def test_lists_in_pages(site: Site) -> None:
    site.push(NAME, "b", LAYER)
    for tag in ("a", "c"):
        site.put_manifest(NAME, tag, manifest_of(LAYER))
    first = site.call("GET", f"/v2/{NAME}/tags/list?n=2")
    assert first.json() == {"name": NAME, "tags": ["a", "b"]}
    rest = site.call("GET", first.links["next"]["url"])
    assert rest.json()["tags"] == ["c"]
    assert "next" not in rest.links
    assert site.call("GET", f"/v2/{NAME}/tags/list?n=0").json()["tags"] == []
    assert site.call("GET", "/v2/_catalog").json() == {"repositories": [NAME]}


def test_contents_go_with_the_last_image_that_has_them(site: Site) -> None:
    site.ecr.create_repository(repositoryName="other")
    one = site.push(NAME, "one", LAYER, b"of one")
    two = site.push(NAME, "two", LAYER)
    site.push("other", "one", b"of one")
    assert site.call("DELETE", f"/v2/{NAME}/manifests/{one}").status_code == 202
    assert error_of(site.call("GET", f"/v2/{NAME}/manifests/one")) == (404, "MANIFEST_UNKNOWN")
    assert one not in site.files()
    assert {digest_of(LAYER), digest_of(b"of one"), digest_of(CONFIG), two} <= site.files()
    assert site.call("GET", f"/v2/{NAME}/blobs/{digest_of(b'of one')}").status_code == 404
    used = site.call("DELETE", f"/v2/{NAME}/blobs/{digest_of(LAYER)}")
    assert error_of(used) == (405, "UNSUPPORTED")
    assert site.call("DELETE", f"/v2/{NAME}/manifests/two").status_code == 202
    assert digest_of(LAYER) not in site.files()
    site.push_layer(NAME, LAYER)
    assert site.call("DELETE", f"/v2/{NAME}/blobs/{digest_of(LAYER)}").status_code == 202
    assert digest_of(LAYER) not in site.files()
    gone = site.call("DELETE", f"/v2/{NAME}/manifests/{one}")
    assert error_of(gone) == (404, "MANIFEST_UNKNOWN")


def test_pushes_and_deletions_at_once_leave_whole_images(site: Site) -> None:
    """Of images that share layers: nobody is told of one that is not whole, and nothing is left."""
    layers = [bytes([number]) * 1000 for number in range(4)]
    unexpected: list[str] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        mine = Site(site.url, site.store, site.ecr)
        for _ in range(8):
            tag, pair = f"v{rng.randrange(3)}", rng.sample(layers, 2)
            if rng.random() < 0.4:
                answers = [mine.call("DELETE", f"/v2/{NAME}/manifests/{tag}")]
            else:
                for data in (CONFIG, *pair):
                    mine.push_layer(NAME, data)
                answers = [mine.put_manifest(NAME, tag, manifest_of(*pair))]
                answers.append(mine.call("GET", f"/v2/{NAME}/manifests/{tag}"))
            # 404: the image, or a layer of it, has been deleted by another one meanwhile.
            unexpected.extend(
                each.text for each in answers if each.status_code not in (200, 201, 202, 404)
            )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    for image in site.ecr.describe_images(repositoryName=NAME)["imageDetails"]:
        manifest = site.call("GET", f"/v2/{NAME}/manifests/{image['imageDigest']}").json()
        for each in (manifest["config"], *manifest["layers"]):
            content = site.call("GET", f"/v2/{NAME}/blobs/{each['digest']}").content
            assert digest_of(content) == each["digest"]


def test_a_list_and_what_refers_to_an_image(site: Site) -> None:
    digest = site.push(NAME, "v1", LAYER)
    child = {"mediaType": OCI_MANIFEST, "size": 1, "digest": digest}
    index = json.dumps({"schemaVersion": 2, "manifests": [child]}).encode()
    assert site.put_manifest(NAME, "all", index, OCI_INDEX).status_code == 201
    listed = site.call("DELETE", f"/v2/{NAME}/manifests/{digest}")
    assert error_of(listed) == (405, "UNSUPPORTED")
    about = manifest_of(subject=child, artifactType="application/sbom")
    answer = site.put_manifest(NAME, digest_of(about), about)
    assert answer.headers["OCI-Subject"] == digest
    for query, count in (("", 1), ("?artifactType=other", 0)):
        referrers = site.call("GET", f"/v2/{NAME}/referrers/{digest}{query}")
        assert referrers.headers["Content-Type"] == OCI_INDEX
        assert len(referrers.json()["manifests"]) == count


def test_the_command_asks_what_an_image_is(site: Site) -> None:
    digest = site.push(NAME, "v1", LAYER)
    client = GatewayClient(site.url)
    found = client.registry_image(f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{NAME}:v1")
    assert found is not None
    assert found.reference == f"{site.url.partition('//')[2]}/{NAME}@{digest}"
    assert client.registry_image("python:3.11") is None
    with pytest.raises(ImageUnavailable, match="has no image v2"):
        client.registry_image(f"localhost/{NAME}:v2")


# --- the next gateway ---


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store", account_id=ACCOUNT)


def test_the_next_gateway_goes_on_under_its_own_port(
    settings: Settings, runtime: FakeRuntime
) -> None:
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        site = Site(url, settings.store)
        site.ecr.create_repository(repositoryName=NAME)
        digest = site.push(NAME, "v1", LAYER)
        place = site.call("POST", f"/v2/{NAME}/blobs/uploads/").headers["Location"]
        site.call("PATCH", place, data=b"half")
        login = site.http.headers["Authorization"]
    with GatewayThread(compose_gateway(settings, runtime)) as other:
        site = Site(other, settings.store)
        site.http.headers["Authorization"] = login
        (repository,) = site.ecr.describe_repositories()["repositories"]
        assert repository["repositoryUri"] == f"{other.partition('//')[2]}/{NAME}"
        head = site.call("HEAD", f"/v2/{NAME}/manifests/v1")
        assert head.headers["Docker-Content-Digest"] == digest
        assert site.call("GET", f"/v2/{NAME}/blobs/{digest_of(LAYER)}").content == LAYER
        ended = site.call("PUT", f"{place}?digest={digest_of(b'half whole')}", data=b" whole")
        assert ended.status_code == 201


def test_a_reset_clears_the_registry(settings: Settings, runtime: FakeRuntime) -> None:
    settings = replace(settings, allow_reset=True)
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        site = Site(url, settings.store)
        site.ecr.create_repository(repositoryName=NAME)
        site.push(NAME, "v1", LAYER)
        site.call("POST", f"/v2/{NAME}/blobs/uploads/")
        GatewayClient(url).reset(settings.store)
        assert not (settings.store / "registry/blobs/sha256").exists()
        assert not (settings.store / "registry/uploads").exists()
        assert site.ecr.describe_repositories()["repositories"] == []
        site.ecr.create_repository(repositoryName=NAME)
        site.push(NAME, "v1", LAYER)


# --- functions ---


def test_a_function_keeps_the_image_that_it_was_made_with(site: Site) -> None:
    session = boto3.Session("any", "thing", region_name="us-east-1")
    functions = session.client("lambda", endpoint_url=site.url)
    uri = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{NAME}"

    def make(tag: str) -> Any:
        return functions.create_function(
            FunctionName="on-image",
            Role=f"arn:aws:iam::{ACCOUNT}:role/any",
            PackageType="Image",
            Code={"ImageUri": f"{uri}:{tag}"},
        )

    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="Source image"):
        make("v1")
    first = site.push(NAME, "v1", LAYER)
    assert f"sha256:{make('v1')['CodeSha256']}" == first
    second = site.push(NAME, "v1", b"another layer")
    code = functions.get_function(FunctionName="on-image")["Code"]
    assert (code["ImageUri"], code["ResolvedImageUri"]) == (f"{uri}:v1", f"{uri}@{first}")
    functions.update_function_code(FunctionName="on-image", ImageUri=f"{uri}:v1")
    code = functions.get_function(FunctionName="on-image")["Code"]
    assert code["ResolvedImageUri"] == f"{uri}@{second}"
    changed = functions.update_function_code(FunctionName="on-image", ImageUri="mine:1")
    assert "CodeSha256" not in changed
    functions.delete_function(FunctionName="on-image")
