"""A real engine pushes to the gateway and pulls from it; jobs run on what was pushed."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import WaiterError
from docker.errors import APIError, NotFound

from mlops.app import compose_gateway
from mlops.gateway.client import GatewayClient
from mlops.gateway.server import GatewayThread
from mlops.runtimes.docker_engine import Engine
from mlops.runtimes.standing import Standing, judge_images
from mlops.settings import Settings

pytestmark = pytest.mark.docker

ACCOUNT = "123456789012"
NAME = f"team/tiny-{os.getpid()}"
LOCAL = f"mlops-test-tiny-{os.getpid()}"
CLOUD = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/{NAME}"
OUTPUT = "/opt/ml/processing/output"
QUICK = {"Delay": 0.1, "MaxAttempts": 600}


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, docker_engine: Engine
) -> Iterator[SimpleNamespace]:
    """A gateway on the engine, with a repository and whatever it takes to log in."""
    settings = Settings(
        store=tmp_path_factory.mktemp("registry") / "store", account_id=ACCOUNT, runtime="docker"
    )
    session = boto3.Session("any", "thing", region_name="us-east-1")
    with GatewayThread(compose_gateway(settings)) as url:
        aws = {
            service: session.client(service, endpoint_url=url)
            for service in ("ecr", "sagemaker", "s3")
        }
        made = aws["ecr"].create_repository(repositoryName=NAME)["repository"]
        aws["s3"].create_bucket(Bucket="bucket")
        (data,) = aws["ecr"].get_authorization_token()["authorizationData"]
        user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        login = {"username": user, "password": password}
        yield SimpleNamespace(
            **aws, url=url, uri=made["repositoryUri"], login=login, client=docker_engine.client
        )
    for image in docker_engine.client.images():
        names = [*(image["RepoTags"] or ()), *(image["RepoDigests"] or ())]
        for name in names:
            if NAME in name or LOCAL in name:
                with suppress(NotFound, APIError):
                    docker_engine.client.remove_image(name, force=True)


@pytest.fixture(scope="module")
def root(docker_engine: Engine, base_image: str) -> bytes:
    """A tar with a shell and nothing else: some two megabytes, out of the base image."""
    client = docker_engine.client
    script = (
        'mkdir /r; for each in /bin/sh /bin/chown; do cp -L --parents "$each" '
        '$(ldd "$each" | grep -o "/[^ ]*") /r; done'
    )
    made = client.create_container(base_image, ["sh", "-c", script])["Id"]
    try:
        client.start(made)
        assert client.wait(made)["StatusCode"] == 0, client.logs(made)
        stream, _ = client.get_archive(made, "/r/.")
        return b"".join(stream)
    finally:
        client.remove_container(made, force=True)


def push(site: SimpleNamespace, root: bytes, tag: str, said: str) -> str:
    """An image whose variable SAID is `said`, pushed, and gone from the engine; its digest."""
    client = site.client
    client.import_image_from_data(root, repository=LOCAL, tag=tag, changes=[f"ENV SAID={said}"])
    client.tag(f"{LOCAL}:{tag}", site.uri, tag)
    events = list(client.push(site.uri, tag=tag, auth_config=site.login, stream=True, decode=True))
    assert not [event for event in events if "error" in event], events
    for name in (f"{LOCAL}:{tag}", f"{site.uri}:{tag}"):
        client.remove_image(name)
    (found,) = site.ecr.describe_images(repositoryName=NAME, imageIds=[{"imageTag": tag}])[
        "imageDetails"
    ]
    digest: str = found["imageDigest"]
    return digest


def start(site: SimpleNamespace, name: str, image: str) -> None:
    """A processing job that writes what its image says."""
    output = {"S3Uri": f"s3://bucket/{name}", "LocalPath": OUTPUT, "S3UploadMode": "EndOfJob"}
    site.sagemaker.create_processing_job(
        ProcessingJobName=name,
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/any",
        AppSpecification={
            "ImageUri": image,
            "ContainerEntrypoint": ["/bin/sh", "-c", f"echo $SAID > {OUTPUT}/said.txt"],
        },
        ProcessingResources={
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 1,
            }
        },
        ProcessingOutputConfig={"Outputs": [{"OutputName": "said", "S3Output": output}]},
    )


def ended(site: SimpleNamespace, name: str) -> dict[str, Any]:
    """The description of a job at its end."""
    with suppress(WaiterError):  # it failed: the description says how
        site.sagemaker.get_waiter("processing_job_completed_or_stopped").wait(
            ProcessingJobName=name, WaiterConfig=QUICK
        )
    found: dict[str, Any] = site.sagemaker.describe_processing_job(ProcessingJobName=name)
    return found


def said(site: SimpleNamespace, name: str) -> str:
    """What a job has written, at its end."""
    job = ended(site, name)
    assert job["ProcessingJobStatus"] == "Completed", job.get("FailureReason")
    body = site.s3.get_object(Bucket="bucket", Key=f"{name}/said.txt")["Body"]
    text: str = body.read().decode().strip()
    return text


def test_jobs_run_on_what_was_pushed_last(site: SimpleNamespace, root: bytes) -> None:
    first = push(site, root, "v1", "first")
    start(site, "cloud-form", f"{CLOUD}:v1")
    assert said(site, "cloud-form") == "first"
    assert push(site, root, "v1", "second") != first
    # A gateway of before had another port: the URI that it told is known all the same.
    images = {
        "local-form": (f"{site.uri}:v1", "second"),
        "old-port": (f"localhost:1/{NAME}:v1", "second"),
        "by-digest": (f"{CLOUD}@{first}", "first"),
    }
    for name, (image, _) in images.items():
        start(site, name, image)
    assert {name: said(site, name) for name in images} == {
        name: expected for name, (_, expected) in images.items()
    }


def test_how_an_image_stands(site: SimpleNamespace, root: bytes) -> None:
    push(site, root, "standing", "any")
    settings = Settings(account_id=ACCOUNT, runtime="docker")
    asked = judge_images(settings, lambda: GatewayClient(site.url).registry_image)
    assert asked(f"{CLOUD}:standing").state is Standing.REGISTRY
    missing = asked(f"{CLOUD}:never-pushed")
    assert (missing.state, "docker push" in missing.reason) == (Standing.MISSING, True)
    assert judge_images(settings)(f"{CLOUD}:standing").state is Standing.UNKNOWN


def test_an_image_that_is_not_there(site: SimpleNamespace) -> None:
    start(site, "missing", f"{CLOUD}:never-pushed")
    job = ended(site, "missing")
    assert job["ProcessingJobStatus"] == "Failed"
    assert (
        f"repository {NAME} of the local registry has no image never-pushed"
        in (job["FailureReason"])
    )


def test_pulled_by_who_has_the_password(site: SimpleNamespace, root: bytes) -> None:
    digest = push(site, root, "v2", "pulled")
    wrong = {"username": "AWS", "password": "wrong"}
    with pytest.raises(APIError, match="unauthorized"):
        site.client.pull(site.uri, tag="v2", auth_config=wrong)
    site.client.pull(site.uri, tag="v2", auth_config=site.login)
    assert f"{site.uri}@{digest}" in site.client.inspect_image(f"{site.uri}:v2")["RepoDigests"]


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker command")
def test_the_docker_command(site: SimpleNamespace, root: bytes, tmp_path: Path) -> None:
    site.client.import_image_from_data(root, repository=LOCAL, tag="cli")

    def docker(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DOCKER_CONFIG": str(tmp_path)}
        return subprocess.run(
            ["docker", *arguments],
            input=stdin,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    registry = site.uri.partition("/")[0]
    login = docker("login", "-u", "AWS", "--password-stdin", registry, stdin=site.login["password"])
    assert "Login Succeeded" in login.stdout, login.stderr
    for target, expected in ((site.uri, ""), (f"{registry}/nowhere", "does not exist")):
        docker("tag", f"{LOCAL}:cli", f"{target}:cli")
        pushed = docker("push", f"{target}:cli")
        assert expected in pushed.stderr
        assert (pushed.returncode == 0) is (not expected), pushed.stderr
        docker("rmi", f"{target}:cli")
    docker("rmi", f"{LOCAL}:cli")
    pulled = docker("pull", f"{site.uri}:cli")
    assert pulled.returncode == 0, pulled.stderr
