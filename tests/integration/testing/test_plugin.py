"""The pytest plugin: an example project's own tests, and what loading it costs everybody else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROJECT = ROOT / "tests/data/projects/tested"


def test_the_example_projects_own_tests_pass(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    environment = {name: v for name, v in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        # By name, whether or not the entry point of this environment is known already.
        [sys.executable, "-m", "pytest", "-q", "-p", "mlops.pytest_plugin", "-p", "no:mlops"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_it_is_an_entry_point_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"mlops": "mlops.pytest_plugin"}


def test_loading_it_imports_nothing_that_it_does_not_need() -> None:
    script = (
        "import sys, pytest; before = set(sys.modules); import mlops.pytest_plugin; "
        "print(sorted(n for n in set(sys.modules) - before if '.' not in n or 'mlops' in n))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "['mlops', 'mlops.pytest_plugin']"
