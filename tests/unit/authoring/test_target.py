from pathlib import Path

import pytest

from mlops.authoring.target import (
    DefinitionTarget,
    FileTarget,
    LabTarget,
    ModuleTarget,
    parse_target,
)
from mlops.errors import TargetError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.py").touch()
    (tmp_path / "definition.json").touch()
    (tmp_path / "folder.py").mkdir()
    return tmp_path


@pytest.mark.parametrize("text", [None, "mlops.pipeline:build_pipeline"])
def test_the_lab_is_the_default_and_has_a_name(text: str | None, folder: Path) -> None:
    assert parse_target(text, folder) == LabTarget()


def test_forms(folder: Path) -> None:
    file = folder / "pipeline.py"
    assert parse_target("pipeline.py", folder) == FileTarget(file)
    assert parse_target("pipeline.py:get_pipeline", folder) == FileTarget(file, "get_pipeline")
    assert parse_target(f"{file}:get_pipeline", Path("/")) == FileTarget(file, "get_pipeline")
    assert parse_target("definition.json", folder) == DefinitionTarget(folder / "definition.json")
    assert parse_target("project.pipelines:make", folder) == ModuleTarget(
        "project.pipelines", "make"
    )
    assert parse_target("project:Factory.make", folder) == ModuleTarget("project", "Factory.make")


@pytest.mark.parametrize("text", ["", "pipeline", "a:b:c", ":name", "no such:thing"])
def test_other_words_are_refused_with_the_forms(text: str, folder: Path) -> None:
    with pytest.raises(TargetError, match="TARGET is module:function, a Python file"):
        parse_target(text, folder)


@pytest.mark.parametrize("text", ["missing.py", "missing.py:name", "missing.json"])
def test_a_missing_file_is_named(text: str, folder: Path) -> None:
    with pytest.raises(TargetError, match="does not exist") as caught:
        parse_target(text, folder)
    assert caught.value.where == str(folder / text.partition(":")[0])


def test_a_folder_is_no_file(folder: Path) -> None:
    with pytest.raises(TargetError, match="is a folder"):
        parse_target("folder.py", folder)


def test_a_name_that_no_function_has(folder: Path) -> None:
    with pytest.raises(TargetError, match="no name of a function"):
        parse_target("pipeline.py:get-pipeline", folder)
