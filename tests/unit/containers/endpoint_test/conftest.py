"""The function's modules, from the folder that is /var/task in its image."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

TASK = Path(__file__).parents[4] / "containers" / "endpoint_test"


@pytest.fixture(autouse=True)
def task_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(TASK))
    yield
    for name in [
        name for name in sys.modules if name.split(".")[0] in ("endpoint_test", "handler")
    ]:
        del sys.modules[name]


@pytest.fixture
def load() -> Any:
    """``load("check")``: a module of the function."""
    return lambda name: import_module(f"endpoint_test.{name}")


@pytest.fixture
def event() -> dict[str, Any]:
    return {
        "endpoint_name": "diamonds-dev",
        "holdout_s3_uri": "s3://bucket/run/holdout/holdout.csv",
        "columns": ["carat", "cut"],
        "target": "price",
    }
