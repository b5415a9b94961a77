"""Step code runs on the managed images: Python 3.9, and nothing that they do not hold."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[3] / "step_code").glob("*.py"))


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.name)
def tree(request: pytest.FixtureRequest) -> ast.Module:
    return ast.parse(request.param.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_annotations_are_not_evaluated(tree: ast.Module) -> None:
    futures = [
        name.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for name in node.names
    ]
    assert futures == ["annotations"]


def test_only_the_standard_library_numpy_and_tensorflow_are_imported(tree: ast.Module) -> None:
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names <= {"numpy", "tensorflow"}


def test_there_are_three_scripts() -> None:
    assert [path.name for path in SCRIPTS] == ["evaluate.py", "preprocess.py", "train.py"]
