"""The scripts as modules: they are no package, because each is uploaded alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

STEP_CODE = Path(__file__).parents[3] / "step_code"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"step_code_{name}", STEP_CODE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def preprocess() -> ModuleType:
    return load("preprocess")


@pytest.fixture(scope="session")
def evaluate() -> ModuleType:
    return load("evaluate")
