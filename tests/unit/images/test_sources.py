"""What an image is made from, and that its checksum knows of every change."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlops.errors import ImageUnavailable
from mlops.images.sources import image_sources, read_source
from mlops.settings import ImageMapping, Settings


def test_the_repositorys_own_images() -> None:
    processing, tensorflow, endpoint_test = image_sources(Settings())
    assert (processing.image, processing.base) == ("mlops-processing:local", "python:3.11-slim")
    assert (tensorflow.image, tensorflow.base) == ("mlops-tensorflow:local", processing.image)
    assert endpoint_test.base == processing.base
    assert {"containers/shared/bin/train", "containers/tensorflow/bin/serve"} <= set(
        tensorflow.files
    )
    assert "containers/shared/bin/train" in processing.files  # one file for both images
    assert "containers/shared/bin/train" not in endpoint_test.files
    assert all(file.is_file() for file in tensorflow.files.values())


def test_an_image_without_a_folder_is_not_ours() -> None:
    assert image_sources(Settings(images=(ImageMapping("*", "someone/else:1"),))) == ()


@pytest.mark.parametrize(
    "changed",
    ["constraints.txt", "containers/install_packages.py", "containers/tools/Dockerfile"],
)
def test_the_content_tag_changes_with_every_file(project: Path, changed: str) -> None:
    before = read_source("tools", "tools:local", project).content_tag
    (project / changed).write_text("ARG BASE_IMAGE=x\nchanged")
    assert read_source("tools", "tools:local", project).content_tag != before


def test_the_content_tag_does_not_change_with_time_or_place(project: Path) -> None:
    before = read_source("tools", "tools:local", project)
    moved = project.parent / "moved"
    project.rename(moved)
    (moved / "constraints.txt").touch()
    cache = moved / "containers" / "tools" / "__pycache__"
    cache.mkdir()
    (cache / "x.pyc").write_text("")
    assert read_source("tools", "tools:local", moved).content_tag == before.content_tag


def test_an_image_of_a_registry_with_a_port(project: Path) -> None:
    source = read_source("tools", "localhost:5000/tools", project)
    assert source.content_tag.startswith("localhost:5000/tools:content-")


@pytest.mark.parametrize(("folder", "said"), [("none", "Dockerfile is missing")])
def test_a_folder_that_is_not_there(project: Path, folder: str, said: str) -> None:
    with pytest.raises(ImageUnavailable, match=said) as told:
        read_source(folder, "x:local", project)
    assert told.value.exit_code == 3


def test_a_missing_file_of_pins(project: Path) -> None:
    (project / "constraints.txt").unlink()
    with pytest.raises(ImageUnavailable, match=r"constraints\.txt is missing"):
        read_source("tools", "x:local", project)


def test_a_dockerfile_without_a_base(project: Path) -> None:
    (project / "containers/tools/Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ImageUnavailable, match="names no base"):
        read_source("tools", "x:local", project)
