"""The three scripts as SageMaker runs them: own processes, folders below a base, in turn."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[3]
STEP_CODE = REPOSITORY / "step_code"
LOCAL_DATA = REPOSITORY / "local_data"


def run(
    script: str, base: Path, *arguments: str, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
    return subprocess.run(
        [*prefix, sys.executable, str(STEP_CODE / script), *arguments],
        env=environment | {"SAGEMAKER_BASE_DIR": str(base)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def checked(result: subprocess.CompletedProcess[str]) -> list[str]:
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@dataclass
class Run:
    """A base folder after all three steps, and what each printed."""

    base: Path
    output: Mapping[str, list[str]]

    @property
    def prepared(self) -> Path:
        return self.base / "processing" / "output"

    @property
    def metrics(self) -> dict[str, float]:
        report = json.loads((self.prepared / "evaluation" / "evaluation.json").read_text())
        return {name: row["value"] for name, row in report["regression_metrics"].items()}

    @property
    def preprocessing(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(
            (self.base / "model" / "preprocessing.json").read_text()
        )
        return document


def run_all(base: Path, data: Path, descriptor: Path) -> Run:
    """What the pipeline does between the steps: outputs become the next step's inputs."""
    processing = base / "processing"
    for name, file in (("raw", data), ("dataset", descriptor)):
        (processing / "input" / name).mkdir(parents=True)
        shutil.copy(file, processing / "input" / name)
    output = {"preprocess": checked(run("preprocess.py", base))}
    for channel in ("train", "validation", "preprocessing"):
        shutil.copytree(processing / "output" / channel, base / "input" / "data" / channel)
    hyperparameters = json.loads(descriptor.read_text())["training"]
    arguments = [
        text for key, value in hyperparameters.items() for text in (f"--{key}", f"{value}")
    ]
    output["train"] = checked(run("train.py", base, *arguments))
    (processing / "input" / "model").mkdir()
    with tarfile.open(processing / "input" / "model" / "model.tar.gz", "w:gz") as tar:
        tar.add(base / "model", arcname=".")
    shutil.copytree(processing / "output" / "holdout", processing / "input" / "holdout")
    output["evaluate"] = checked(run("evaluate.py", base))
    return Run(base, output)


@pytest.fixture(scope="session")
def diamonds(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = LOCAL_DATA / "diamonds"
    return run_all(
        tmp_path_factory.mktemp("diamonds"), folder / "diamonds.csv", folder / "dataset.json"
    )


@pytest.fixture(scope="session")
def model(diamonds: Run) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        # As evaluate.py does: TensorFlow loads Keras where it can, and the model needs none.
        if "keras" not in sys.modules:
            patch.setitem(sys.modules, "keras", None)
        import tensorflow as tf

    return tf.saved_model.load(str(diamonds.base / "model" / "1"))


# --- the real data ----------------------------------------------------------------------------


def test_the_diamonds_pass_their_gate_with_room(diamonds: Run) -> None:
    assert sorted(diamonds.metrics) == ["mae", "mse", "r2", "rmse", "standard_deviation"]
    assert diamonds.metrics["mse"] <= 0.016
    assert diamonds.metrics["r2"] >= 0.98
    assert (diamonds.prepared / "evaluation" / "predicted_actual.svg").stat().st_size < 60_000


def test_the_abalone_pass_the_labs_gate(tmp_path: Path) -> None:
    data = os.environ.get("MLOPS_ABALONE_CSV")
    if not data:
        pytest.skip("MLOPS_ABALONE_CSV names no file: the lab's data is not in this project")
    found = run_all(tmp_path, Path(data), LOCAL_DATA / "abalone" / "dataset.json")
    assert found.metrics["mse"] <= 5.5
    assert found.output["preprocess"][-1] == "detail: 2,923 train · 627 validation · 627 test"


def test_each_step_ends_with_its_result(diamonds: Run) -> None:
    assert (
        diamonds.output["preprocess"][-1] == "detail: 37,758 train · 8,091 validation · 8,091 test"
    )
    assert re.fullmatch(
        r"detail: epoch \d+ of 12 · val_loss 0\.01\d\d", diamonds.output["train"][-1]
    )
    assert re.fullmatch(r"detail: mse 0\.01\d\d · r² 0\.9\d\d", diamonds.output["evaluate"][-1])


def test_epochs_print_what_metric_definitions_read(diamonds: Run) -> None:
    text = "\n".join(diamonds.output["train"])
    losses = [float(value) for value in re.findall(r"val_loss=([0-9.eE+-]+)", text)]
    assert len(re.findall(r"train_loss=([0-9.eE+-]+)", text)) == 12
    assert losses[-1] == pytest.approx(min(losses), rel=1e-4)  # the best epoch's, last


# --- the model takes raw rows -----------------------------------------------------------------


def read_raw(path: Path, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    import csv

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        row["name"]: [
            float(line[row["column"]]) if row["type"] == "number" else line[row["column"]]
            for line in rows
        ]
        for row in preprocessing["inputs"]
    }


def predict(model: Any, inputs: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    tensors = {
        name: tf.constant(values, tf.string if isinstance(values[0], str) else tf.float32)
        for name, values in inputs.items()
    }
    return model.signatures["serving_default"](**tensors)["prediction"].numpy()


def test_the_signature_names_the_raw_columns(model: Any) -> None:
    specs = model.signatures["serving_default"].structured_input_signature[1]
    words = {"cut", "color", "clarity"}
    assert {name: spec.dtype.name for name, spec in specs.items()} == {
        name: "string" if name in words else "float32"
        for name in ("carat", "cut", "color", "clarity", "depth", "table", "x", "y", "z")
    }
    assert [spec.shape.as_list() for spec in specs.values()] == [[None]] * 9


def test_raw_rows_and_prepared_rows_give_the_same_predictions(diamonds: Run, model: Any) -> None:
    prepared = np.loadtxt(diamonds.prepared / "test" / "test.csv", delimiter=",", skiprows=1)
    values = prepared[:, 1:]
    for kernel, bias in zip(model.kernels[:-1], model.biases[:-1], strict=True):
        values = np.maximum(values @ kernel.numpy() + bias.numpy(), 0)
    values = values @ model.kernels[-1].numpy() + model.biases[-1].numpy()
    raw = read_raw(diamonds.prepared / "holdout" / "holdout.csv", diamonds.preprocessing)
    assert predict(model, raw) == pytest.approx(np.exp(values[:, 0]), rel=1e-4)


def test_what_is_missing_impossible_or_unknown_has_an_answer(diamonds: Run, model: Any) -> None:
    median = {row["column"]: row["median"] for row in diamonds.preprocessing["numeric"]}
    row = {"carat": 0.7, "depth": 62.0, "table": 57.0, "x": 5.7, "y": 5.7, "z": 3.5}
    words = {"cut": "Ideal", "color": "E", "clarity": "VS1"}

    def price(**changes: Any) -> float:
        inputs = {name: [value] for name, value in {**row, **words, **changes}.items()}
        return float(predict(model, inputs)[0])

    assert price(x=0.0) == price(x=58.9) == price(x=float("nan")) == price(x=median["x"])
    assert price(carat=-1.0) == price(carat=float("inf")) == price(carat=median["carat"])
    assert price(cut=" Ideal ") == price()
    assert price(cut="Shiny") == price(cut="") != price()


def test_the_archive_is_small(diamonds: Run) -> None:
    archive = diamonds.base / "processing" / "input" / "model" / "model.tar.gz"
    assert archive.stat().st_size < 100_000


# --- the same again ---------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("taskset") is None, reason="taskset (util-linux) is not here")
def test_the_same_seed_gives_the_same_bits_on_any_number_of_processors(
    diamonds: Run, tmp_path: Path
) -> None:
    """The model of the first run, which had all of them, trained again on one."""
    training = json.loads((LOCAL_DATA / "diamonds" / "dataset.json").read_text())["training"]
    arguments = [text for key, value in training.items() for text in (f"--{key}", f"{value}")]
    prefix = ("taskset", "-c", str(min(os.sched_getaffinity(0))))
    again = ("--model-dir", str(tmp_path))
    output = checked(run("train.py", diamonds.base, *arguments, *again, prefix=prefix))
    assert output == diamonds.output["train"]
    weights = Path("1", "variables", "variables.data-00000-of-00001")
    assert (tmp_path / weights).read_bytes() == (diamonds.base / "model" / weights).read_bytes()


# --- failures: one clear line, a status other than 0 ------------------------------------------


def test_training_without_a_channel(tmp_path: Path) -> None:
    result = run("train.py", tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"channel preprocessing has no preprocessing.json: {tmp_path}/input/data/preprocessing"
    )


def test_training_that_diverges(diamonds: Run, tmp_path: Path) -> None:
    arguments = ("--learning_rate", "1e30", "--epochs", "3", "--model-dir", str(tmp_path / "model"))
    result = run("train.py", diamonds.base, *arguments)
    assert result.returncode == 1
    assert re.fullmatch(
        r"the loss is no longer a number after epoch \d; lower learning_rate \(1e\+30\)",
        result.stderr.splitlines()[-1],
    )
    assert not (tmp_path / "model").exists()


def test_a_hyperparameter_that_cannot_be(tmp_path: Path) -> None:
    result = run("train.py", tmp_path, "--epochs", "0")
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].endswith("argument --epochs: 0 is below 1")


def test_data_that_cannot_be_used(tmp_path: Path) -> None:
    for name in ("raw", "dataset"):
        (tmp_path / "processing" / "input" / name).mkdir(parents=True)
    shutil.copy(
        LOCAL_DATA / "diamonds" / "dataset.json", tmp_path / "processing" / "input" / "dataset"
    )
    result = run("preprocess.py", tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert (tmp_path / "output" / "message").read_text() == result.stderr.rstrip("\n")
