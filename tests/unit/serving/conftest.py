"""The server's package lies in the image's folder, not in ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "containers" / "tensorflow"
if str(FOLDER) not in sys.path:
    sys.path.append(str(FOLDER))

PREPROCESSING: dict[str, Any] = {
    "inputs": [
        {"column": "carat", "name": "carat", "type": "number"},
        {"column": "cut", "name": "cut", "type": "text"},
        {"column": "depth %", "name": "depth__", "type": "number"},
    ]
}


@pytest.fixture
def inputs() -> Any:
    from serving.rows import Inputs

    return Inputs(PREPROCESSING)
