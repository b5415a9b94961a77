"""Builds in a real engine: a small image over a base, and a child over it."""

from __future__ import annotations

import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops.errors import ImageUnavailable
from mlops.images import ImageState, build_images, image_status
from mlops.images.engine import DockerEngine
from mlops.settings import ImageMapping, Settings

pytestmark = pytest.mark.docker

PARENT = """\
ARG BASE_IMAGE=none
FROM ${BASE_IMAGE} AS packages
COPY constraints.txt ca-bundle.cr[t] pip.con[f] /build/
RUN test -s /build/ca-bundle.crt && grep -q secret /build/pip.conf && mkdir /packages \\
    && cp /build/constraints.txt /packages/installed
FROM ${BASE_IMAGE}
COPY --from=packages /packages/ /
"""
CHILD = """\
ARG BASE_IMAGE={parent}
FROM ${{BASE_IMAGE}}
COPY containers/child/bin/ /usr/local/bin/
"""


class Project:
    def __init__(self, folder: Path) -> None:
        self.name = f"mlops-test-{uuid.uuid4().hex[:8]}"
        self.parent, self.child = f"{self.name}-parent:local", f"{self.name}-child:local"
        self.folder = folder
        self.settings = Settings(
            images=(
                ImageMapping("a", self.child, "child"),
                ImageMapping("b", self.parent, "parent"),
            )
        )
        self.write("containers/parent/Dockerfile", PARENT)
        self.write("containers/child/Dockerfile", CHILD.format(parent=self.parent))
        self.write("containers/child/bin/say", "#!/bin/sh\ncat /installed\n").chmod(0o755)
        self.write("containers/install_packages.py", "")
        self.write("constraints.txt", "pins")

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def build(self, **keywords: Any) -> tuple[dict[str, ImageState], list[str]]:
        said: list[str] = []
        statuses = build_images(
            self.settings, project=self.folder, progress=said.append, **keywords
        )
        return {status.folder: status.state for status in statuses}, said

    def names(self) -> list[str]:
        listed = docker("images", "--format", "{{.Repository}}:{{.Tag}}")
        return sorted(name for name in listed.split() if name.startswith(self.name))


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def project(docker_engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose person has a proxy's certificates and an index with a password."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "company.crt").write_text("COMPANY CERTIFICATE")
    made = Project(folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_CERT", str(folder / "company.crt"))
        patch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
        yield made
    for name in made.names():
        docker_engine.client.remove_image(name, force=True)


@pytest.fixture(scope="module")
def first_output(project: Project, base_image: str) -> list[str]:
    """What the first build of all said."""
    states, said = project.build(base_image=base_image)
    assert states == {"parent": ImageState.BUILT, "child": ImageState.BUILT}
    return said


def test_the_first_build_shows_its_steps(project: Project, first_output: list[str]) -> None:
    assert any(line.startswith(f"{project.parent}: 2/6 FROM") for line in first_output)
    assert docker("run", "--rm", "--network", "none", project.child, "say") == "pins"


def test_an_index_on_this_host_is_reached_by_its_network(first_output: list[str]) -> None:
    assert "network host: the bridge has no way to the package index" in first_output


@pytest.mark.usefixtures("first_output")
def test_neither_certificates_nor_passwords_are_left(project: Project) -> None:
    look = "ls /build 2>&1; grep -rl -e COMPANY -e secret / --include=*.crt --include=*.conf; :"
    found = docker("run", "--rm", "--network", "none", project.child, "sh", "-c", look)
    assert "cannot access '/build'" in found
    assert "pip.conf" not in found
    assert "ca-bundle" not in found
    assert "secret" not in docker("history", "--no-trunc", project.child)


@pytest.mark.usefixtures("first_output")
def test_builds_again_only_what_changed_also_below_a_running_job(
    project: Project, base_image: str, docker_engine: Any
) -> None:
    current = {"parent": ImageState.CURRENT, "child": ImageState.CURRENT}
    assert project.build(base_image=base_image)[0] == current
    project.write("containers/child/bin/say", "#!/bin/sh\necho changed\n")
    statuses = image_status(project.settings, project=project.folder)
    assert [s.state for s in statuses] == [ImageState.CURRENT, ImageState.OUTDATED]

    before = docker("images", "-q", project.child).strip()
    running = docker("run", "-d", "--rm", "--network", "none", project.child, "sleep", "60").strip()
    try:
        states, _ = project.build(base_image=base_image)
    finally:
        docker_engine.client.remove_container(running, force=True)
    docker_engine.client.remove_image(before)  # the job kept it
    assert states == {"parent": ImageState.CURRENT, "child": ImageState.BUILT}
    assert docker("run", "--rm", "--network", "none", project.child, "say") == "changed\n"
    assert sum("content-" in name for name in project.names()) == 2  # none of before


def test_a_failing_build_shows_its_end_and_leaves_no_image(
    base_image: str, tmp_path: Path, docker_engine: Any
) -> None:
    broken = Project(tmp_path)
    fails = f"LABEL mlops.test={broken.name}\nRUN echo the cause >&2 && exit 3\n"
    broken.write("containers/parent/Dockerfile", f"ARG BASE_IMAGE=x\nFROM ${{BASE_IMAGE}}\n{fails}")
    with pytest.raises(ImageUnavailable) as told:
        broken.build(base_image=base_image)
    assert "the cause" in str(told.value)
    assert broken.names() == []
    for step in docker("images", "-q", "--filter", f"label=mlops.test={broken.name}").split():
        docker_engine.client.remove_image(step)  # the engine's cache of the steps that went well


def test_a_base_that_is_nowhere(project: Project) -> None:
    with pytest.raises(ImageUnavailable, match=r"no-such-image\.invalid/x:1 is not in the engine"):
        project.build(base_image="no-such-image.invalid/x:1")


@pytest.mark.usefixtures("docker_engine")
def test_an_image_unknown_to_the_engine_is_none() -> None:
    assert DockerEngine().find("mlops-no-such-image:local") is None


@pytest.mark.usefixtures("docker_engine")
def test_a_registry_that_never_answers_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        name = f"127.0.0.1:{silent.getsockname()[1]}/x:1"
        started = time.monotonic()
        with pytest.raises(ImageUnavailable, match="no answer from the registry in 1 s"):
            DockerEngine(pull_timeout=1.0).pull(name, lambda _: None)
        assert time.monotonic() - started < 10
