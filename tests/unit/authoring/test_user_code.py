import json
from pathlib import Path

import pytest

from mlops.authoring.load import load_pipeline
from mlops.authoring.target import FileTarget
from mlops.authoring.user_code import user_code
from mlops.errors import ServiceError, TargetError


def failure_of(file: Path) -> TargetError:
    with pytest.raises(TargetError) as caught, user_code(file.parent, file.name):
        load_pipeline(FileTarget(file), {})
    return caught.value


def test_the_innermost_line_of_the_users_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text(
        "import json\n\ndef read():\n    return json.loads('{')\n"
        "\ndef get_pipeline():\n    read()\n"
    )
    error = failure_of(file)
    assert error.what.startswith("The code of the pipeline failed: JSONDecodeError: Expecting")
    assert error.where == f"{file}:4 in read"
    assert "Traceback" not in str(error)


def test_a_helper_in_another_file_of_the_user_counts(tmp_path: Path) -> None:
    (tmp_path / "their_helper.py").write_text("raise ValueError('no')\n")
    file = tmp_path / "pipeline.py"
    file.write_text("\nimport their_helper\n")
    assert failure_of(file).where == f"{tmp_path / 'their_helper.py'}:1"


def test_a_syntax_error(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text("\n\ndef get_pipeline(:\n")
    error = failure_of(file)
    assert "SyntaxError" in error.what
    assert error.where == f"{file}:3"


def test_code_that_ends_the_process(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.py"
    file.write_text("import sys\nsys.exit(3)\n")
    error = failure_of(file)
    assert "ends the process, with status 3" in error.what
    assert error.where == f"{file}:2"


def test_an_error_of_this_project_passes(tmp_path: Path) -> None:
    with pytest.raises(ServiceError), user_code(tmp_path, "target"):
        raise ServiceError("ValidationException", "no")


def test_without_a_line_of_the_user_the_target_is_named(tmp_path: Path) -> None:
    def fails() -> None:
        with user_code(tmp_path, "their.module:make"):
            json.loads("{")

    with pytest.raises(TargetError) as caught:
        fails()
    assert __file__ in str(caught.value.where)
