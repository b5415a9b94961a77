"""What train.py writes beside the SavedModel, and what it does where that does not work."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from .conftest import Trained, Wanted, post, refuses_to_start, serving, train_models

FAST = {"MODEL_SERVER_FAST_PATH": "1"}

WITHOUT_CONVERTER = """
import types
tf = types.SimpleNamespace(**vars(tf))
tf.lite = types.SimpleNamespace()
"""
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no conversion": {"change": WITHOUT_CONVERTER},
    "different": {"change": "LARGEST_DIFFERENCE = 0.0"},
    "words": {"features": {"numeric": [], "categorical": [{"column": "cut"}, {"column": "color"}]}},
    "one number": {
        "features": {"numeric": [{"column": "carat", "transform": "log"}], "categorical": []}
    },
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """All that these tests look at."""
    wanted = [Wanted(tmp_path_factory.mktemp("model"), **more) for more in VARIANTS.values()]
    return dict(zip(VARIANTS, train_models(*wanted), strict=True))


def recorded_of(model: Trained) -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads((model.base / "model" / "fast_path.json").read_text())
    return recorded


def test_it_is_recorded_how_equal_the_fast_path_is(
    models: dict[str, Trained],
) -> None:
    recorded = recorded_of(models["plain"])
    content = (models["plain"].base / "model" / recorded["file"]).read_bytes()
    assert recorded["status"] == "equal"
    assert recorded["sha256"] == hashlib.sha256(content).hexdigest()
    assert recorded["compared"]["validation_rows"] > 400
    assert recorded["compared"]["rows_to_clean"] == 6 * 5 + 3 * 2
    assert 0 < recorded["compared"]["largest_difference"] < recorded["compared"]["limit"]
    examples = recorded["examples"]
    assert len(examples["rows"]) == len(examples["predictions"]) >= 16
    assert any(None in row for row in examples["rows"])


def test_a_conversion_that_fails_leaves_the_model_and_the_reason(
    models: dict[str, Trained],
) -> None:
    model = models["no conversion"]
    recorded = recorded_of(model)
    assert recorded["status"] == "absent"
    assert "TFLiteConverter" in recorded["reason"]
    assert f"fast path: absent · {recorded['reason']}" in model.printed
    assert "absent: " + recorded["reason"] in refuses_to_start(model.base, **FAST)
    with serving(model.base) as running:
        assert post(running.port, b"0.5,Ideal,E,SI1,61,55,5.1,5.1,3.2")[0] == 200


def test_a_fast_path_that_differs_is_recorded_and_not_served(models: dict[str, Trained]) -> None:
    model = models["different"]
    assert recorded_of(model)["status"] == "different"
    assert any(line.startswith("fast path: different · largest diff") for line in model.printed)
    assert "found it different" in refuses_to_start(model.base, **FAST)


@pytest.mark.parametrize("kind", ["words", "one number"])
def test_models_of_one_kind_of_columns_have_a_fast_path(
    models: dict[str, Trained], kind: str
) -> None:
    model = models[kind]
    for variables in ({}, FAST):
        with serving(model.base, **variables) as running:
            status, answer = post(running.port, model.csv_body())
            assert status == 200
            found = [float(line) for line in answer.split()]
        assert found == pytest.approx(model.expected, rel=0 if not variables else 1e-4)
