"""What train.py writes beside the SavedModel, and what it does where that does not work."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import STEP_CODE, Trained, channels, post, prepare, refuses_to_start, serving
from .conftest import train_model as train

FAST = {"MODEL_SERVER_FAST_PATH": "1"}

TRAIN_WITH = """
import sys
sys.path.insert(0, sys.argv[1])
import train
{change}
sys.exit(train.main(sys.argv[2:]))
"""


def train_with(change: str, out: Path, base: Path) -> tuple[list[str], dict[str, Any]]:
    """What train.py prints and records once `change` was made to it."""
    arguments = [*map(str, channels(out)), "--model-dir", str(base / "model"), "--epochs", "1"]
    command = [sys.executable, "-c", TRAIN_WITH.format(change=change), str(STEP_CODE), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    recorded: dict[str, Any] = json.loads((base / "model" / "fast_path.json").read_text())
    return done.stdout.splitlines(), recorded


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("prepared"))


def test_it_is_recorded_how_equal_the_fast_path_is(trained: Trained) -> None:
    model = trained.base / "model"
    recorded = json.loads((model / "fast_path.json").read_text())
    content = (model / recorded["file"]).read_bytes()
    assert recorded["status"] == "equal"
    assert recorded["sha256"] == hashlib.sha256(content).hexdigest()
    assert recorded["compared"]["validation_rows"] > 400
    assert recorded["compared"]["rows_to_clean"] == 6 * 5 + 3 * 2
    assert 0 < recorded["compared"]["largest_difference"] < recorded["compared"]["limit"]
    examples = recorded["examples"]
    assert len(examples["rows"]) == len(examples["predictions"]) >= 16
    assert any(None in row for row in examples["rows"])


def test_a_conversion_that_fails_leaves_the_model_and_the_reason(
    prepared: Path, tmp_path: Path
) -> None:
    broken = "import types; train.tf = types.SimpleNamespace(**vars(train.tf))\n"
    broken += "train.tf.lite = types.SimpleNamespace()"
    printed, recorded = train_with(broken, prepared, tmp_path)
    assert recorded["status"] == "absent"
    assert "TFLiteConverter" in recorded["reason"]
    assert f"fast path: absent · {recorded['reason']}" in printed
    assert "absent: " + recorded["reason"] in refuses_to_start(tmp_path, **FAST)
    with serving(tmp_path) as running:
        assert post(running.port, b"0.5,Ideal,E,SI1,61,55,5.1,5.1,3.2")[0] == 200


def test_a_fast_path_that_differs_is_recorded_and_not_served(
    prepared: Path, tmp_path: Path
) -> None:
    printed, recorded = train_with("train.LARGEST_DIFFERENCE = 0.0", prepared, tmp_path)
    assert recorded["status"] == "different"
    assert any(line.startswith("fast path: different · largest diff") for line in printed)
    assert "found it different" in refuses_to_start(tmp_path, **FAST)


@pytest.mark.parametrize(
    "features",
    [
        {"numeric": [], "categorical": [{"column": "cut"}, {"column": "color"}]},
        {"numeric": [{"column": "carat", "transform": "log"}], "categorical": []},
    ],
    ids=["words", "one number"],
)
def test_models_of_one_kind_of_columns_have_a_fast_path(
    tmp_path: Path, features: dict[str, Any]
) -> None:
    model = train(tmp_path, features)
    for variables in ({}, FAST):
        with serving(model.base, **variables) as running:
            status, answer = post(running.port, model.csv_body())
            assert status == 200
            found = [float(line) for line in answer.split()]
        assert found == pytest.approx(model.expected, rel=0 if not variables else 1e-4)
