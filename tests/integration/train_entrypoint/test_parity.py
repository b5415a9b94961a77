"""Our `train` gives a script what SageMaker's training toolkit gives it."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
_spec = importlib.util.spec_from_file_location("train_parity", HERE / "parity.py")
assert _spec
assert _spec.loader
parity: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parity)


def recorded(name: str) -> Any:
    return json.loads((parity.RECORDED / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", parity.CASES)
def test_a_script_sees_what_the_toolkit_shows(name: str, tmp_path: Path) -> None:
    assert parity.run_ours(name, tmp_path) == recorded(name)


@pytest.mark.skipif(
    parity.TOOLKIT not in os.environ,
    reason=f"{parity.TOOLKIT} names no Python with sagemaker-training (see parity.py)",
)
@pytest.mark.parametrize("name", parity.CASES)
def test_the_record_is_what_the_toolkit_does(name: str, tmp_path: Path) -> None:
    assert parity.run_toolkit(name, tmp_path, os.environ[parity.TOOLKIT]) == recorded(name)
