"""Which images processes can stand in for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlops.errors import RuntimeUnavailable
from mlops.runtimes.process_images import find_image
from mlops.settings import ImageMapping, Settings

ENVIRONMENT = str(Path(sys.prefix) / "bin")


@pytest.mark.parametrize(
    "uri",
    ["python:3.11-slim", "docker.io/library/python:3.12", "mirror.example:5000/python:3"],
)
def test_a_plain_python_image_is_the_environment(uri: str) -> None:
    assert find_image(uri, Settings()).search_path.split(":")[0] == ENVIRONMENT


def test_a_mapped_image_has_its_folders_programs_first() -> None:
    uri = "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-training:2.19-cpu-py312"
    first, second = find_image(uri, Settings()).search_path.split(":")[:2]
    assert first.endswith("containers/tensorflow/bin")
    assert (Path(first) / "train").is_file()
    assert second == ENVIRONMENT


@pytest.mark.parametrize("uri", ["ubuntu:24.04", "pythonic:3", "example.com/python", "postgres"])
def test_any_other_image_is_refused(uri: str) -> None:
    with pytest.raises(RuntimeUnavailable, match=uri) as caught:
        find_image(uri, Settings())
    assert caught.value.next_step


def test_a_mapping_without_a_folder_gives_no_stand_in() -> None:
    settings = Settings(images=(ImageMapping("mine:*", "mine:local"),))
    with pytest.raises(RuntimeUnavailable, match="mine:1"):
        find_image("mine:1", settings)


def test_a_folder_that_is_missing_is_named() -> None:
    settings = Settings(images=(ImageMapping("mine:*", "mine:local", "no-such-folder"),))
    with pytest.raises(RuntimeUnavailable, match="containers/no-such-folder"):
        find_image("mine:1", settings)
