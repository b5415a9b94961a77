from __future__ import annotations

import copy
import csv
import json
import math
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

DESCRIPTOR: dict[str, Any] = {
    "name": "gems",
    "file": "gems.csv",
    "header": True,
    "columns": ["weight", "kind", "width", "price", "note"],
    "target": {"column": "price", "transform": "log"},
    "features": {
        "numeric": [
            {"column": "weight", "transform": "log"},
            {"column": "width", "zero_is_missing": True, "maximum": 20},
        ],
        "categorical": [{"column": "kind", "values": ["ruby", "opal"]}],
    },
    "split": {"train": 0.7, "validation": 0.15, "test": 0.15, "seed": 42},
}


def gems(count: int = 100) -> list[list[str]]:
    dice = random.Random(7)
    return [
        [
            f"{dice.uniform(0.2, 5):.2f}",
            dice.choice(["ruby", "opal"]),
            f"{dice.uniform(3, 9):.2f}",
            str(dice.randint(300, 9000)),
            f"gem {number}",
        ]
        for number in range(count)
    ]


class Job:
    """A folder laid out as SageMaker lays out /opt/ml for the processing job."""

    def __init__(self, base: Path, script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base = base
        self.script = script
        self.output = base / "processing" / "output"
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))
        for name in ("raw", "dataset"):
            (base / "processing" / "input" / name).mkdir(parents=True)
        self.csv = base / "processing" / "input" / "raw" / "gems.csv"
        self.descriptor = copy.deepcopy(DESCRIPTOR)

    def write(self, rows: list[list[str]], header: list[str] | None = None) -> None:
        with self.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header or self.descriptor["columns"], *rows])

    def run(self) -> int:
        path = self.base / "processing" / "input" / "dataset" / "dataset.json"
        path.write_text(json.dumps(self.descriptor))
        status: int = self.script.main([])
        return status

    def split(self, name: str) -> list[dict[str, str]]:
        with (self.output / name / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.output)): path.read_bytes()
            for path in self.output.rglob("*")
            if path.is_file()
        }

    @property
    def preprocessing(self) -> dict[str, Any]:
        text = (self.output / "preprocessing" / "preprocessing.json").read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text)
        return document

    @property
    def message(self) -> str:
        return (self.base / "output" / "message").read_text()


@pytest.fixture
def job(tmp_path: Path, preprocess: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Job:
    return Job(tmp_path, preprocess, monkeypatch)


# --- what comes out ---------------------------------------------------------------------------


def test_writes_the_splits_the_raw_holdout_and_the_statistics(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    job.write(gems())
    assert job.run() == 0
    assert sorted(job.files()) == [
        "holdout/holdout.csv",
        "preprocessing/preprocessing.json",
        "test/test.csv",
        "train/train.csv",
        "validation/validation.csv",
    ]
    assert list(job.split("train")[0]) == ["price", "weight", "width", "kind_ruby", "kind_opal"]
    assert capsys.readouterr().out.splitlines()[-1] == "detail: 70 train · 15 validation · 15 test"
    assert job.preprocessing["rows"] == {"train": 70, "validation": 15, "test": 15}


def test_the_holdout_is_the_test_split_as_it_came_row_by_row(job: Job) -> None:
    rows = gems()
    job.write(rows)
    job.run()
    holdout = job.split("holdout")
    assert [list(row.values()) for row in holdout if list(row.values()) not in rows] == []
    prices = [math.log(float(row["price"])) for row in holdout]
    assert [float(row["price"]) for row in job.split("test")] == pytest.approx(prices, abs=1e-8)


def test_statistics_come_from_the_training_split_alone(job: Job) -> None:
    job.write(gems())
    job.run()
    training = [float(row["weight"]) for row in job.split("train")]
    assert np.mean(training) == pytest.approx(0, abs=1e-7)
    assert np.std(training) == pytest.approx(1, abs=1e-7)
    assert abs(np.mean([float(row["weight"]) for row in job.split("test")])) > 1e-3
    weight = job.preprocessing["numeric"][0]
    scaled = (math.log(float(job.split("holdout")[0]["weight"])) - weight["mean"]) / weight["scale"]
    assert float(job.split("test")[0]["weight"]) == pytest.approx(scaled, abs=1e-7)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("width", ""),
        ("width", "NA"),
        ("width", "0"),
        ("width", "58.9"),
        ("width", "inf"),
        ("weight", "0"),
        ("weight", "-1"),
        ("weight", "nan"),
    ],
)
def test_what_is_missing_or_cannot_be_becomes_the_median(job: Job, column: str, cell: str) -> None:
    rows = gems()
    position = DESCRIPTOR["columns"].index(column)
    for row in rows[::3]:
        row[position] = cell
    job.write(rows)
    assert job.run() == 0
    (fitted,) = (row for row in job.preprocessing["numeric"] if row["column"] == column)
    middle = math.log(fitted["median"]) if column == "weight" else fitted["median"]
    imputed = (middle - fitted["mean"]) / fitted["scale"]
    repaired = [
        float(prepared[column])
        for raw, prepared in zip(job.split("holdout"), job.split("test"), strict=True)
        if raw[column] == cell
    ]
    assert repaired
    assert repaired == pytest.approx([imputed] * len(repaired), abs=1e-7)


def test_a_word_outside_the_vocabulary_has_zeros_only(
    job: Job, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = gems()
    for row in rows[::4]:
        row[1] = "glass"
    job.write(rows)
    assert job.run() == 0
    assert "kind: 25 outside the vocabulary" in capsys.readouterr().out
    for raw, prepared in zip(job.split("holdout"), job.split("test"), strict=True):
        hot = {"ruby": ("1", "0"), "opal": ("0", "1"), "glass": ("0", "0")}[raw["kind"]]
        assert (prepared["kind_ruby"], prepared["kind_opal"]) == hot


def test_without_values_the_vocabulary_is_the_training_splits(job: Job) -> None:
    del job.descriptor["features"]["categorical"][0]["values"]
    job.write(gems())
    job.run()
    assert job.preprocessing["categorical"][0]["values"] == ["opal", "ruby"]


def test_a_constant_column_is_zero(job: Job) -> None:
    rows = gems()
    for row in rows:
        row[2] = "5"
    job.write(rows)
    assert job.run() == 0
    assert {row["width"] for row in job.split("train")} == {"0"}


# --- the same again ---------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(job: Job) -> None:
    job.write(gems())
    job.run()
    first = job.files()
    job.run()
    assert job.files() == first


def test_another_seed_deals_other_rows(job: Job) -> None:
    job.write(gems())
    job.run()
    first = job.files()
    job.descriptor["split"]["seed"] = 43
    job.run()
    assert job.files()["holdout/holdout.csv"] != first["holdout/holdout.csv"]


def test_the_order_of_a_headers_columns_is_the_files_own_affair(job: Job) -> None:
    job.write(gems())
    job.run()
    first = job.files()
    job.write([row[::-1] for row in gems()], header=DESCRIPTOR["columns"][::-1])
    job.run()
    assert job.files() == first


def test_a_byte_order_mark_blank_lines_and_spaces_change_nothing(job: Job) -> None:
    job.write(gems())
    job.run()
    first = job.files()
    text = job.csv.read_text().replace("\r\n", "\r\n\r\n").replace(",", ", ")
    job.csv.write_text("\ufeff" + text, newline="")
    job.run()
    assert job.files() == first


def test_data_without_a_header(job: Job) -> None:
    job.write(gems())
    job.run()
    first = job.files()
    job.descriptor["header"] = False
    job.write(gems()[1:], header=gems()[0])
    job.run()
    assert job.files() == first


def test_a_file_of_another_name_is_found(job: Job) -> None:
    job.write(gems())
    job.csv.rename(job.csv.with_name("other.csv"))
    assert job.run() == 0


@given(
    rows=st.lists(st.sampled_from("abcdefghijklmnopqrst"), min_size=30, max_size=200),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_row_is_dealt_once_and_equal_rows_stay_together(
    preprocess: ModuleType, rows: list[str], seed: int
) -> None:
    shares = {"train": 0.7, "validation": 0.15, "test": 0.15}
    try:
        splits = preprocess.deal_rows([[row] for row in rows], shares, seed)
    except preprocess.DataProblem:
        return  # too few different rows for three splits
    assert sorted(np.concatenate(list(splits.values())).tolist()) == list(range(len(rows)))
    seen = [{rows[number] for number in numbers} for numbers in splits.values()]
    assert sum(len(words) for words in seen) == len(set(rows))
    assert len(splits["test"]) <= round(len(rows) * 0.15)


def test_rows_that_differ_are_dealt_in_exact_shares(preprocess: ModuleType) -> None:
    rows = [[str(number // 2 if number < 300 else number)] for number in range(53_940)]
    splits = preprocess.deal_rows(rows, {"train": 0.7, "validation": 0.15, "test": 0.15}, 42)
    assert {name: len(numbers) for name, numbers in splits.items()} == {
        "train": 37_758,
        "validation": 8_091,
        "test": 8_091,
    }


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("carat", "carat"),
        ("Sepal.Length", "Sepal_Length"),
        ("class", "column_class"),
        ("2nd", "column_2nd"),
    ],
)
def test_tensor_names_are_identifiers(preprocess: ModuleType, column: str, name: str) -> None:
    assert preprocess.input_name(column) == name
    assert name.isidentifier()


# --- bad input: one clear line, status 1 ------------------------------------------------------


def bad_rows(change: str) -> list[list[str]]:
    rows = gems()
    if change == "short":
        rows[5] = rows[5][:-1]
    elif change == "long":
        rows[5] = [*rows[5], "more"]
    elif change == "few":
        rows = rows[:7]
    elif change == "none":
        rows = []
    else:
        column, _, cell = change.partition("=")
        rows[5][DESCRIPTOR["columns"].index(column)] = cell
    return rows


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("short", "row 7 of gems.csv has 4 columns instead of 5"),
        ("long", "row 7 of gems.csv has 6 columns instead of 5"),
        ("price=cheap", "row 7: price is 'cheap', not a number"),
        (
            "price=",
            "row 7: the target price is '', not a number above 0, as a log scale needs",
        ),
        (
            "price=0",
            "row 7: the target price is '0', not a number above 0, as a log scale needs",
        ),
        ("weight=heavy", "row 7: weight is 'heavy', not a number"),
        ("few", "gems.csv has 7 rows; at least 20 are needed to learn from"),
        ("none", "gems.csv has a header and no rows"),
    ],
)
def test_rows_that_cannot_be_used(
    job: Job, change: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job.write(bad_rows(change))
    assert job.run() == 1
    assert capsys.readouterr().err == f"{line}\n"
    assert job.message == line
    assert not job.output.exists()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "gems.csv is empty"),
        (
            b"a,b\n1,2\n",
            "row 1 of gems.csv: the header has 2 columns (a,b), "
            "the descriptor 5 (weight,kind,width,price,note)",
        ),
        (b"\xff\xfe\x00", "gems.csv cannot be read as CSV in UTF-8"),
    ],
)
def test_files_that_cannot_be_used(job: Job, content: bytes, line: str) -> None:
    job.csv.write_bytes(content)
    assert job.run() == 1
    assert job.message.startswith(line)


def test_no_file(job: Job) -> None:
    assert job.run() == 1
    assert job.message.endswith("should hold gems.csv, and holds nothing")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"target": {"column": "cost"}},
            "the descriptor names a column 'cost', and its columns are "
            "weight, kind, width, price, note",
        ),
        ({"features": {}}, "the descriptor names no features"),
        (
            {"target": {"column": "price", "transform": "sqrt"}},
            "column 'price' has the transform 'sqrt'; it may be log or none",
        ),
        (
            {"features": {"categorical": [{"column": "kind", "values": ["jade"]}]}},
            "column 'kind' has no word of its vocabulary jade",
        ),
        (
            {"features": {"categorical": [{"column": "note"}]}, "many": True},
            "column 'note' has 350 different words: leave it out or give values",
        ),
    ],
)
def test_descriptors_that_cannot_be_used(job: Job, change: dict[str, Any], line: str) -> None:
    job.descriptor.update(change)
    job.write(gems(500 if "many" in change else 100))
    assert job.run() == 1
    assert job.message == line


def test_a_descriptor_that_lacks_a_key_or_is_no_json(job: Job) -> None:
    job.write(gems())
    del job.descriptor["split"]
    assert job.run() == 1
    assert job.message.endswith("dataset.json lacks the key 'split'")
    (job.base / "processing" / "input" / "dataset" / "dataset.json").write_text("{")
    assert job.script.main([]) == 1
    assert "is not JSON" in job.message


def test_outside_sagemaker_no_message_file_is_made(
    preprocess: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "absent"))
    assert preprocess.main(["--dataset", str(tmp_path)]) == 1
    assert "there is no descriptor" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
