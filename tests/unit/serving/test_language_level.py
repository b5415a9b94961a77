"""The server runs in the managed images: Python 3.9, and nothing of this project's own package."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "containers" / "tensorflow"
FILES = [FOLDER / "bin" / "serve", *sorted((FOLDER / "serving").glob("*.py"))]
ALLOWED = {"serving", "httptools", "uvloop", "numpy", "tensorflow", "ai_edge_litert"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_python_3_9_and_few_imports(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").split(".")[0])
    assert imported - sys.stdlib_module_names <= ALLOWED
