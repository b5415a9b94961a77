from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

TARGET = {"column": "price", "transform": "log", "unit": "USD"}


def values(report: dict[str, dict[str, dict[str, float]]]) -> dict[str, float]:
    return {name: row["value"] for name, row in report["regression_metrics"].items()}


# --- metrics ----------------------------------------------------------------------------------


def test_metrics_agree_with_scikit_learn(evaluate: ModuleType) -> None:
    random = np.random.default_rng(1)
    actual = random.normal(8, 1, 500)
    predicted = actual + random.normal(0.02, 0.1, 500)
    found = values(evaluate.regression_metrics(actual, predicted))
    assert found == pytest.approx(
        {
            "mse": reference.mean_squared_error(actual, predicted),
            "rmse": reference.mean_squared_error(actual, predicted) ** 0.5,
            "mae": reference.mean_absolute_error(actual, predicted),
            "r2": reference.r2_score(actual, predicted),
            "standard_deviation": float(np.std(actual - predicted)),
        }
    )


def test_the_report_has_the_labs_form(evaluate: ModuleType) -> None:
    report = evaluate.regression_metrics(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    assert report["regression_metrics"]["mse"] == {"value": 0.5}
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_r2_of_a_constant_target_is_a_number(evaluate: ModuleType) -> None:
    report = evaluate.regression_metrics(np.ones(3), np.zeros(3))
    assert values(report)["r2"] == 0.0


# --- the plot ---------------------------------------------------------------------------------


def plot(evaluate: ModuleType, actual: np.ndarray, predicted: np.ndarray, **target: str) -> str:
    metrics = evaluate.regression_metrics(actual, predicted)
    text: str = evaluate.draw_plot(actual, predicted, {**TARGET, **target}, metrics)
    return text


def test_the_plot_is_small_whole_and_needs_nothing_else(evaluate: ModuleType) -> None:
    random = np.random.default_rng(1)
    actual = np.log(random.uniform(300, 19_000, 8_000))
    text = plot(evaluate, actual, actual + random.normal(0, 0.3, 8_000))
    assert len(text.encode()) < 60_000
    svg = ElementTree.fromstring(text)
    words = [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"500", "1,000", "10,000"} <= set(words)
    assert "actual price, USD (log scale)" in words
    assert "predicted price, USD (log scale)" in words
    assert "prefers-color-scheme:dark" in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(-1e9, 1e9)),
        min_size=1,
        max_size=50,
    ),
)
def test_the_plot_takes_any_numbers(
    evaluate: ModuleType, points: list[tuple[float, float]]
) -> None:
    actual, predicted = (np.array(column) for column in zip(*points, strict=True))
    svg = ElementTree.fromstring(plot(evaluate, actual, predicted, transform="none"))
    assert "nan" not in ElementTree.tostring(svg, encoding="unicode").lower()


def test_names_are_escaped(evaluate: ModuleType) -> None:
    text = plot(
        evaluate, np.array([1.0, 2]), np.array([1.0, 2]), column='a<b&"c"', transform="none"
    )
    assert 'Predicted against actual a<b&"c"' in "".join(ElementTree.fromstring(text).itertext())


def test_predictions_far_beyond_are_drawn_at_the_edge_and_counted(evaluate: ModuleType) -> None:
    actual = np.linspace(6, 10, 100)
    predicted = actual.copy()
    predicted[0] = 500.0
    text = plot(evaluate, actual, predicted)
    assert "1 beyond the axis, drawn at its edge" in text


@given(st.integers(0, 2**32 - 1))
def test_every_point_is_counted_in_its_nearest_cell(evaluate: ModuleType, seed: int) -> None:
    x, y = np.random.default_rng(seed).uniform(0, 100, (2, 200))
    centres, counts = evaluate.count_hexagons(x, y)
    assert sum(counts) == 200
    nearest = np.hypot(
        x[:, None] - [centre[0] for centre in centres],
        y[:, None] - [centre[1] for centre in centres],
    ).min(axis=1)
    assert nearest.max() <= evaluate.HEX_RADIUS + 1e-9


# --- the model archive ------------------------------------------------------------------------


def archive(path: Path, members: dict[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo("link")
            member.type = tarfile.SYMTYPE
            member.linkname = link
            tar.addfile(member)
    return path


def test_a_model_archive_is_unpacked(evaluate: ModuleType, tmp_path: Path) -> None:
    path = archive(tmp_path / "model.tar.gz", {"./preprocessing.json": b"{}", "1/saved": b"x"})
    folder = tmp_path / "model"
    assert evaluate.unpack_model(str(path), str(folder)) == str(folder)
    assert (folder / "1" / "saved").read_bytes() == b"x"
    assert evaluate.unpack_model(str(folder), "unused") == str(folder)


@pytest.mark.parametrize("name", ["../evil", "/tmp/mlops-evil", "a/../../evil"])
def test_an_archive_writes_nothing_elsewhere(
    evaluate: ModuleType, tmp_path: Path, name: str
) -> None:
    path = archive(tmp_path / "model.tar.gz", {name: b"x", "preprocessing.json": b"{}"})
    with pytest.raises(evaluate.EvaluationProblem, match="may not be"):
        evaluate.unpack_model(str(path), str(tmp_path / "in"))
    assert not (tmp_path / "evil").exists()
    assert not Path("/tmp/mlops-evil").exists()


def test_an_archive_holds_no_links(evaluate: ModuleType, tmp_path: Path) -> None:
    path = archive(tmp_path / "model.tar.gz", {"preprocessing.json": b"{}"}, link="/etc/passwd")
    with pytest.raises(evaluate.EvaluationProblem, match="'link' that may not be"):
        evaluate.unpack_model(str(path), str(tmp_path / "in"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder as far as it is read before TensorFlow is."""
    folder = tmp_path / "model"
    folder.mkdir()
    preprocessing = {
        "dataset": "gems",
        "target": TARGET,
        "inputs": [{"column": "weight", "name": "weight", "type": "number"}],
    }
    (folder / "preprocessing.json").write_text(json.dumps(preprocessing))
    return folder


@pytest.mark.parametrize(
    ("holdout", "line"),
    [
        (None, "there is no holdout.csv at"),
        ("weight,price\n", "has no rows"),
        ("width,price\n1,2\n", "the holdout has no column 'weight', only width, price"),
        ("weight,price\nheavy,2\n", "the holdout's column 'weight': could not convert"),
    ],
)
def test_a_holdout_that_cannot_be_used(
    evaluate: ModuleType,
    model: Path,
    tmp_path: Path,
    holdout: str | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    if holdout is not None:
        (tmp_path / "holdout.csv").write_text(holdout)
    arguments = ["--model", str(model), "--holdout", str(tmp_path), "--output", str(tmp_path / "o")]
    assert evaluate.main(arguments) == 1
    error = capsys.readouterr().err
    assert line in error
    assert (tmp_path / "output" / "message").read_text() == error.rstrip("\n")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [(None, "there is no model.tar.gz at"), (b"not a tar", "cannot be unpacked")],
)
def test_a_model_that_cannot_be_used(
    evaluate: ModuleType,
    tmp_path: Path,
    content: bytes | None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "absent"))
    if content is not None:
        (tmp_path / "model.tar.gz").write_bytes(content)
    assert evaluate.main(["--model", str(tmp_path), "--output", str(tmp_path / "o")]) == 1
    assert line in capsys.readouterr().err
