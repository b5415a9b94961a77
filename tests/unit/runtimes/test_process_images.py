"""Which images processes can stand in for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mlops.errors import RuntimeUnavailable
from mlops.ports import JobSpec
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
    first, second, third = find_image(uri, Settings()).search_path.split(":")[:3]
    assert first.endswith("containers/tensorflow/bin")
    assert (Path(first) / "serve").is_file()
    assert (Path(second) / "train").is_file()
    assert third == ENVIRONMENT


def test_the_scikit_learn_image_trains_too() -> None:
    """What `_RepackModelStep` of SDK v2 asks for: repacking is a training job on it."""
    uri = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
    folders = find_image(uri, Settings()).search_path.split(":")
    first = next(folder for folder in folders if (Path(folder) / "train").is_file())
    assert first.endswith("containers/shared/bin")


@pytest.mark.parametrize("uri", ["ubuntu:24.04", "pythonic:3", "example.com/python", "postgres"])
def test_any_other_image_is_refused(uri: str) -> None:
    with pytest.raises(RuntimeUnavailable, match=uri) as caught:
        find_image(uri, Settings())
    assert caught.value.next_step


@pytest.mark.parametrize(
    "uri",
    ["127.0.0.1:4000/team/app:v1", "000000000000.dkr.ecr.us-east-1.amazonaws.com/team/app:v1"],
)
def test_an_image_of_the_registry_takes_an_engine(uri: str) -> None:
    with pytest.raises(RuntimeUnavailable, match="takes a container engine"):
        find_image(uri, Settings())
    mapped = Settings(images=(ImageMapping("*/team/app:*", "mine:1", "processing"),))
    assert find_image(uri, mapped).search_path


def test_a_mapping_without_a_folder_gives_no_stand_in() -> None:
    settings = Settings(images=(ImageMapping("mine:*", "mine:local"),))
    with pytest.raises(RuntimeUnavailable, match="mine:1"):
        find_image("mine:1", settings)


def test_a_folder_that_is_missing_is_named() -> None:
    settings = Settings(images=(ImageMapping("mine:*", "mine:local", "no-such-folder"),))
    with pytest.raises(RuntimeUnavailable, match="containers/no-such-folder"):
        find_image("mine:1", settings)


def job(**command: tuple[str, ...]) -> JobSpec:
    return JobSpec(name="j", image="i", folder=Path("/f"), log=Path("/l"), **command)


def test_an_image_of_ours_runs_what_its_dockerfile_says() -> None:
    image = find_image("1.dkr.ecr.x.amazonaws.com/mlops-endpoint-test:1", Settings())
    assert image.command_line(job()) == ("bootstrap", "handler.handler")
    assert image.command_line(job(arguments=("index.handler",))) == ("bootstrap", "index.handler")
    assert image.command_line(job(command=("sh",), arguments=("-c", "x"))) == ("sh", "-c", "x")
    assert image.command_line(job(command=("sh",))) == ("sh",)  # an ENTRYPOINT of one's own: no CMD
    assert (image.path[0] / "bootstrap").is_file()


def test_an_image_that_names_no_command_runs_what_the_job_says() -> None:
    image = find_image("python:3.11", Settings())
    assert image.command_line(job(arguments=("serve",))) == ("serve",)
    assert image.command_line(job()) == ()
