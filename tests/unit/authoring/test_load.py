"""Finding a pipeline in Python code. A stand-in pipeline keeps the SDK out: any object will do
that has a name, steps and a definition."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlops.authoring.load import load_pipeline
from mlops.authoring.target import FileTarget, ModuleTarget
from mlops.authoring.user_code import user_code
from mlops.errors import TargetError

PIPELINE_CLASS = """
class Pipeline:
    steps = ()
    def __init__(self, name): self.name = name
    def definition(self): return "{}"
"""


@pytest.fixture
def write(tmp_path: Path) -> Iterator[object]:
    modules = set(sys.modules)

    def _write(code: str, name: str = "pipeline.py") -> Path:
        file = tmp_path / name
        file.write_text(PIPELINE_CLASS + code)
        return file

    yield _write
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def name_of(file: Path, name: str | None = None) -> str:
    return load_pipeline(FileTarget(file, name), {"region": "eu-west-1"}).name


def test_a_named_function_is_called(write) -> None:
    file = write("def make(region): return Pipeline(region)")
    assert name_of(file, "make") == "eu-west-1"


def test_a_named_object_is_taken(write) -> None:
    assert name_of(write("first = Pipeline('one'); second = Pipeline('two')"), "second") == "two"


def test_the_only_pipeline_of_a_file_is_found(write) -> None:
    file = write("pipeline = alias = Pipeline('only')\ndef get_pipeline(): raise RuntimeError")
    assert name_of(file) == "only"


@pytest.mark.parametrize("function", ["build_pipeline", "get_pipeline", "create_pipeline"])
def test_a_function_of_a_usual_name_is_found(write, function: str) -> None:
    assert name_of(write(f"def {function}(): return Pipeline('made')")) == "made"


def test_several_pipelines_need_a_name(write) -> None:
    with pytest.raises(TargetError, match="several pipelines: first, second"):
        name_of(write("first = Pipeline('one'); second = Pipeline('two')"))


def test_nothing_to_be_found(write) -> None:
    with pytest.raises(TargetError, match="no Pipeline object and no function build_pipeline"):
        name_of(write("def something(): ..."))


def test_a_wrong_name_is_answered_with_the_right_ones(write) -> None:
    with pytest.raises(TargetError, match="there is no 'mkae'") as caught:
        name_of(write("import os\ndef make(): ..."), "mkae")
    assert caught.value.next_step == "it has Pipeline, make"


def test_a_function_that_returns_something_else(write) -> None:
    with pytest.raises(TargetError, match="returned dict, not a pipeline"):
        name_of(write("def get_pipeline(): return {}"))


def test_a_name_that_is_neither_pipeline_nor_function(write) -> None:
    with pytest.raises(TargetError, match="is int, neither a pipeline nor a function"):
        name_of(write("number = 1"), "number")


def test_an_edited_file_counts(write) -> None:
    assert name_of(write("pipeline = Pipeline('before')")) == "before"
    assert name_of(write("pipeline = Pipeline('afterwards')")) == "afterwards"


def test_a_file_does_not_hide_a_module_of_its_name(write) -> None:
    import json

    assert name_of(write("import json\npipeline = Pipeline(json.dumps(1))", "json.py")) == "1"
    assert sys.modules["json"] is json


def test_a_module_of_the_working_folder(write, tmp_path: Path) -> None:
    write("def make(region): return Pipeline(region)", "their_pipelines.py")
    with user_code(tmp_path, "their_pipelines:make"):
        assert load_pipeline(ModuleTarget("their_pipelines", "make"), {"region": "r"}).name == "r"
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize("module", ["their_missing", "their_missing.pipelines"])
def test_a_module_that_is_not_there(module: str) -> None:
    with pytest.raises(TargetError, match="There is no module 'their_missing'") as caught:
        load_pipeline(ModuleTarget(module, "make"), {})
    assert str(Path.cwd()) in str(caught.value.where)


def test_a_module_that_a_module_needs_is_the_users_matter(write, tmp_path: Path) -> None:
    write("import their_missing_library", "their_module.py")
    with (
        pytest.raises(TargetError, match="No module named 'their_missing_library'") as caught,
        user_code(tmp_path, "their_module:make"),
    ):
        load_pipeline(ModuleTarget("their_module", "make"), {})
    assert str(caught.value.where).endswith("their_module.py:6")
    assert "install their_missing_library" in str(caught.value.next_step)
