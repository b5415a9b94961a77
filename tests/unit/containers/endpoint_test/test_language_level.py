"""The function runs on AWS's base images: Python 3.9 and up, boto3, and nothing of this project."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

TASK = Path(__file__).parents[4] / "containers" / "endpoint_test"


@pytest.mark.parametrize("file", sorted(TASK.rglob("*.py")), ids=lambda path: path.name)
def test_only_the_standard_library_and_boto3_are_imported(file: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names <= {"boto3", "botocore", "endpoint_test"}
