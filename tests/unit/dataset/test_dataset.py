from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops.dataset import Dataset, load_dataset
from mlops.errors import DataError

LOCAL_DATA = Path(__file__).parents[3] / "local_data"

DESCRIPTOR: dict[str, Any] = {
    "name": "gems",
    "file": "gems.csv",
    "header": True,
    "columns": ["weight", "kind", "price"],
    "target": {"column": "price", "transform": "log"},
    "features": {
        "numeric": [{"column": "weight", "zero_is_missing": True, "maximum": 9}],
        "categorical": [{"column": "kind"}],
    },
    "split": {"train": 0.7, "validation": 0.15, "test": 0.15, "seed": 1},
    "training": {
        "epochs": 2,
        "layers": 1,
        "units": 8,
        "batch_size": 16,
        "learning_rate": 0.01,
        "patience": 1,
        "seed": 1,
    },
    "gate": {"metric": "mse", "maximum": 1},
    "names": {"pipeline": "Gems", "model_package_group": "GemGroup", "endpoint": "gems-dev"},
}
CSV = "weight,kind,price\n1,ruby,10\n2,opal,20\n"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write the descriptor with `changes` (a path with dots to a value, or None to drop it)."""

    def write_descriptor(csv: str | None = CSV, **changes: Any) -> Path:
        document = json.loads(json.dumps(DESCRIPTOR))
        for place, value in changes.items():
            *parents, key = place.split("__")
            table = document
            for parent in parents:
                table = table[parent]
            if value is None:
                del table[key]
            else:
                table[key] = value
        path = tmp_path / "dataset.json"
        path.write_text(json.dumps(document))
        if csv is not None:
            (tmp_path / "gems.csv").write_text(csv)
        return path

    return write_descriptor


# --- the shipped data -------------------------------------------------------------------------


def test_the_diamonds_are_what_their_descriptor_says() -> None:
    dataset = load_dataset(LOCAL_DATA / "diamonds" / "dataset.json")
    data = dataset.raw_data()
    assert data.as_described
    assert dataset.rows == len(data.path.read_text().splitlines()) - 1 == 53_940
    assert data.key == f"input/raw/{dataset.sha256}/diamonds.csv"
    assert dataset.gate.maximum == 0.03
    assert dataset.names.model_package_group == "DiamondPricePackageGroup"
    readme = (LOCAL_DATA / "diamonds" / "README.md").read_text()
    assert dataset.sha256 is not None
    assert dataset.sha256 in readme


def test_the_abalone_descriptor_has_the_labs_names_and_says_where_the_data_is() -> None:
    dataset = load_dataset(LOCAL_DATA / "abalone" / "dataset.json")
    assert dataset.names.pipeline == "MLOps-SageMaker-Pipeline"
    assert dataset.names.model_package_group == "AbalonePackageGroup"
    assert (dataset.gate.metric, dataset.gate.maximum) == ("mse", 6.0)
    with pytest.raises(DataError, match="'abalone' is not here") as caught:
        dataset.raw_data()
    assert "--data-file" in str(caught.value)
    assert "archive.ics.uci.edu" in str(caught.value)


# --- a good descriptor ------------------------------------------------------------------------


def test_a_descriptor_becomes_typed(write: Callable[..., Path]) -> None:
    path = write()
    dataset = load_dataset(path)
    assert isinstance(dataset, Dataset)
    assert dataset.columns == ("weight", "kind", "price")
    assert dataset.numeric[0].maximum == 9.0
    assert dataset.numeric[0].transform == "none"
    assert dataset.categorical[0].values is None
    assert dataset.gate.maximum == 1.0
    assert dataset.training.learning_rate == 0.01
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert dataset.descriptor_key == f"input/dataset/{sha256}/dataset.json"


def test_edited_data_is_stored_under_a_key_of_its_own(write: Callable[..., Path]) -> None:
    dataset = load_dataset(write(sha256=hashlib.sha256(CSV.encode()).hexdigest()))
    before = dataset.raw_data()
    assert before.as_described
    before.path.write_text(CSV + "3,opal,30\n")
    after = dataset.raw_data()
    assert not after.as_described
    assert after.key != before.key


def test_a_data_file_from_elsewhere(write: Callable[..., Path], tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text(CSV)
    data = load_dataset(write(csv=None)).raw_data(other)
    assert data.path == other
    assert data.key.endswith("/other.csv")


def test_a_header_may_have_another_order(write: Callable[..., Path]) -> None:
    assert load_dataset(write(csv="price,kind,weight\n10,ruby,1\n")).raw_data()


# --- descriptors that cannot be used ----------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": None}, "name is missing"),
        ({"header": "yes"}, "header must be true or false, not 'yes'"),
        ({"columns": []}, "columns must be a list of texts"),
        ({"columns": ["a", "a"]}, "columns names something twice"),
        ({"colums": []}, "colums is not a key that descriptors have"),
        ({"target": []}, "target must be an object"),
        ({"target__column": "cost"}, "columns has no 'cost', which target or features name"),
        ({"target__column": "kind"}, "target and features use 'kind' twice"),
        ({"target__transform": "sqrt"}, "target.transform is 'sqrt'; it may be log, none"),
        ({"features": {}}, "features must name at least one column"),
        (
            {"features__numeric": [{"column": "weight", "zero_is_mising": True}]},
            "features.numeric[0].zero_is_mising is not a key that descriptors have",
        ),
        (
            {"features__numeric": [{"column": "weight", "maximum": "9"}]},
            "features.numeric[0].maximum must be a number, not '9'",
        ),
        ({"split__test": 0.5}, "split must have three shares above 0 that add up to 1"),
        ({"training__epochs": 0}, "training.epochs must be above 0"),
        ({"training__epochs": True}, "training.epochs must be a whole number, not True"),
        ({"training__units": 1.5}, "training.units must be a whole number, not 1.5"),
        ({"gate__metric": "r2"}, "gate.metric is 'r2'; it may be mse"),
        ({"names__endpoint": None}, "names.endpoint is missing"),
        (
            {"names__pipeline": "my pipeline"},
            "names.pipeline is 'my pipeline'; SageMaker takes letters, digits and hyphens",
        ),
    ],
)
def test_wrong_descriptors(
    write: Callable[..., Path], changes: dict[str, Any], problem: str
) -> None:
    path = write(**changes)
    with pytest.raises(DataError, match=re.escape(problem)) as caught:
        load_dataset(path)
    assert caught.value.where == str(path)
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_no_descriptor_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        load_dataset(tmp_path / "dataset.json")
    (tmp_path / "dataset.json").write_text("{,}")
    with pytest.raises(DataError, match="is not JSON"):
        load_dataset(tmp_path / "dataset.json")


# --- data that cannot be used -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("csv", "problem", "line"),
    [
        ("", "The data file is empty", None),
        ("weight,kind,price\n", "The data file has a header and no rows", None),
        ("weight,price\n1,2\n", "The header has 2 columns (weight,price)", 1),
        (CSV + "3,opal\n", "Row 4 of the data has 2 columns, and the descriptor names 3", 4),
        (CSV + "3,opal,3,3\n", "Row 4 of the data has 4 columns", 4),
        (CSV + "3,opal,dear\n", "Row 4 of the data has 'dear' as price, which is not a number", 4),
        (CSV + "3,opal,\n", "Row 4 of the data has '' as price, which is not a number", 4),
        (CSV + "3,opal,nan\n", "which is not a finite number", 4),
        (CSV + "3,opal,0\n", "which is not above 0, as a log scale needs", 4),
    ],
)
def test_wrong_data(write: Callable[..., Path], csv: str, problem: str, line: int | None) -> None:
    dataset = load_dataset(write(csv=csv))
    with pytest.raises(DataError, match=re.escape(problem)) as caught:
        dataset.raw_data()
    path = dataset.descriptor.parent / "gems.csv"
    assert caught.value.where == (f"{path}:{line}" if line else str(path))
    assert caught.value.next_step


def test_a_file_without_a_header_is_empty_or_has_rows(write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="The data file is empty"):
        load_dataset(write(csv="\n", header=False)).raw_data()
    with pytest.raises(DataError, match="Row 1 of the data has 'price' as price"):
        load_dataset(write(header=False)).raw_data()


def test_no_data_file(write: Callable[..., Path], tmp_path: Path) -> None:
    dataset = load_dataset(write(csv=None))
    with pytest.raises(DataError, match="The data of 'gems' is not here"):
        dataset.raw_data()
    with pytest.raises(DataError, match="no such data file") as caught:
        dataset.raw_data(tmp_path / "absent.csv")
    assert caught.value.next_step == "correct --data-file"


def test_a_file_that_is_no_text(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(csv=None)
    (tmp_path / "gems.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        load_dataset(path).raw_data()
