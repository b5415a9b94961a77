"""The descriptor of a data set: what the raw data is, what to learn from it, under which names.

A descriptor is the file ``dataset.json`` beside the data (``local_data/README.md`` explains its
keys). Here it becomes typed and checked; the ETL step reads the same file for itself, because
step code never imports this package.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, TypeVar

from mlops.errors import DataError

_Kind = TypeVar("_Kind")

TRANSFORMS = ("log", "none")
METRICS = ("mse",)  # what the pipeline's condition compares with its parameter MseThreshold

# botocore's sagemaker model: PipelineName has up to 256 characters, EntityName (a model package
# group) and EndpointName up to 63.
_PIPELINE_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}")
_ENTITY_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")


@dataclass(frozen=True, slots=True)
class Target:
    """The column to predict. Metrics are on the transformed scale."""

    column: str
    transform: str
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class NumericFeature:
    """A column of numbers. A value outside `minimum`…`maximum` counts as missing."""

    column: str
    transform: str = "none"
    zero_is_missing: bool = False
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class CategoricalFeature:
    """A column of words; without `values` the vocabulary is what the training split has."""

    column: str
    values: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of the rows, which add up to 1, and the seed that deals the rows out."""

    train: float
    validation: float
    test: float
    seed: int


@dataclass(frozen=True, slots=True)
class Training:
    """The hyperparameters of ``step_code/train.py``."""

    epochs: int
    layers: int
    units: int
    batch_size: int
    learning_rate: float
    patience: int
    seed: int


@dataclass(frozen=True, slots=True)
class Gate:
    """A model is registered only when its `metric` is at most `maximum`."""

    metric: str
    maximum: float


@dataclass(frozen=True, slots=True)
class Names:
    """What the pipeline and its results are called in SageMaker."""

    pipeline: str
    model_package_group: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class RawData:
    """A checked data file and the checksum of its bytes."""

    path: Path
    sha256: str
    as_described: bool
    """Whether the checksum is the descriptor's: False for an edited or replaced file."""

    @property
    def key(self) -> str:
        """The S3 key of these very bytes.

        The checksum is part of it: SageMaker's cache keys hold URIs, not contents, so an edited
        file behind the same URI would be answered with yesterday's model.
        """
        return f"input/raw/{self.sha256}/{self.path.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A checked descriptor; ``descriptor`` is its file, ``sha256`` that of the data it is for."""

    descriptor: Path
    descriptor_sha256: str
    name: str
    file: str
    header: bool
    columns: tuple[str, ...]
    target: Target
    numeric: tuple[NumericFeature, ...]
    categorical: tuple[CategoricalFeature, ...]
    split: Split
    training: Training
    gate: Gate
    names: Names
    sha256: str | None = None
    rows: int | None = None
    source: str | None = None
    licence: str | None = None

    @property
    def descriptor_key(self) -> str:
        """The S3 key of the descriptor, under its checksum as the data is."""
        return f"input/dataset/{self.descriptor_sha256}/{self.descriptor.name}"

    def raw_data(self, data_file: Path | None = None) -> RawData:
        """Find and check the data: `data_file`, else the file beside the descriptor.

        A checksum other than the descriptor's is no error: people edit data, and every version is
        stored under a key of its own. Each row's column count and target are checked here, before
        anything runs; the ETL step checks every value.

        Raises:
            DataError: no such file, an empty one, or rows that do not fit the descriptor.
        """
        path = (data_file or self.descriptor.parent / self.file).absolute()
        if not path.is_file():
            raise self._no_such_file(path, given=data_file is not None)
        _check_rows(self, path)
        sha256 = _sha256_of(path)
        return RawData(path=path, sha256=sha256, as_described=sha256 == self.sha256)

    def _no_such_file(self, path: Path, *, given: bool) -> DataError:
        if given:
            return DataError(
                "There is no such data file", where=str(path), next_step="correct --data-file"
            )
        step = f"put {self.file} beside its descriptor, or give its path with --data-file"
        if self.source:
            step += f"; it comes from {self.source}"
        return DataError(f"The data of '{self.name}' is not here", where=str(path), next_step=step)


def load_dataset(descriptor: Path) -> Dataset:
    """Read and check a descriptor; the data itself is left alone.

    Raises:
        DataError: no such file, no JSON, or a key that is missing, unknown or wrong.
    """
    path = descriptor.absolute()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"The dataset descriptor cannot be read: {error.strerror}",
            where=str(path),
            next_step="give a pipeline as TARGET, or the path of a descriptor with --data",
        ) from error
    try:
        document = json.loads(content)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"The dataset descriptor is not JSON: {error}",
            where=str(path),
            next_step="correct the file",
        ) from error
    dataset = _dataset(_Table(document, "", path), path, hashlib.sha256(content).hexdigest())
    _check_columns(dataset)
    return dataset


class _Table:
    """One JSON object of a descriptor. Every key must be taken once, with the right type."""

    def __init__(self, value: object, place: str, path: Path) -> None:
        self._place = place
        self._path = path
        if not isinstance(value, dict):
            raise self.error(place or "the descriptor", "must be an object")
        self._left: dict[str, Any] = dict(value)

    def error(self, key: str, problem: str) -> DataError:
        return DataError(
            f"The dataset descriptor: {key} {problem}",
            where=str(self._path),
            next_step="correct the descriptor",
        )

    def name(self, key: str) -> str:
        return f"{self._place}.{key}" if self._place else key

    def required(self, key: str, kind: type[_Kind]) -> _Kind:
        value = self.optional(key, kind)
        if value is None:
            raise self.error(self.name(key), "is missing")
        return value

    def optional(self, key: str, kind: type[_Kind]) -> _Kind | None:
        value = self._left.pop(key, None)
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is None or (
            isinstance(value, kind) and not (kind is int and isinstance(value, bool))
        ):
            return value
        words = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
        raise self.error(self.name(key), f"must be {words.get(kind, 'a list')}, not {value!r}")

    def choice(self, key: str, choices: tuple[str, ...], default: str | None = None) -> str:
        value = self.optional(key, str) if default else self.required(key, str)
        if value is None or value in choices:
            return value or default or ""
        raise self.error(self.name(key), f"is {value!r}; it may be {', '.join(choices)}")

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.required(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.error(self.name(key), "must be a list of texts")
        if len(set(values)) != len(values):
            raise self.error(self.name(key), "names something twice")
        return tuple(values)

    def has(self, key: str) -> bool:
        return key in self._left

    @contextmanager
    def table(self, key: str) -> Iterator[_Table]:
        if key not in self._left:
            raise self.error(self.name(key), "is missing")
        table = _Table(self._left.pop(key), self.name(key), self._path)
        yield table
        table.end()

    def tables(self, key: str) -> Iterator[_Table]:
        for number, value in enumerate(self.optional(key, list) or []):
            table = _Table(value, f"{self.name(key)}[{number}]", self._path)
            yield table
            table.end()

    def end(self) -> None:
        """Refuse what nobody asked for: a misspelt option must not go unnoticed."""
        for key in self._left:
            raise self.error(self.name(key), "is not a key that descriptors have")


def _dataset(table: _Table, path: Path, sha256: str) -> Dataset:
    with table.table("features") as features:
        numeric = tuple(_numeric(row) for row in features.tables("numeric"))
        categorical = tuple(_categorical(row) for row in features.tables("categorical"))
    dataset = Dataset(
        descriptor=path,
        descriptor_sha256=sha256,
        name=table.required("name", str),
        file=table.required("file", str),
        header=table.required("header", bool),
        columns=table.texts("columns"),
        target=_target(table),
        numeric=numeric,
        categorical=categorical,
        split=_split(table),
        training=_training(table),
        gate=_gate(table),
        names=_names(table),
        sha256=table.optional("sha256", str),
        rows=table.optional("rows", int),
        source=table.optional("source", str),
        licence=table.optional("licence", str),
    )
    table.end()
    return dataset


def _target(table: _Table) -> Target:
    with table.table("target") as target:
        return Target(
            column=target.required("column", str),
            transform=target.choice("transform", TRANSFORMS, default="none"),
            unit=target.optional("unit", str),
        )


def _numeric(table: _Table) -> NumericFeature:
    return NumericFeature(
        column=table.required("column", str),
        transform=table.choice("transform", TRANSFORMS, default="none"),
        zero_is_missing=table.optional("zero_is_missing", bool) or False,
        minimum=table.optional("minimum", float),
        maximum=table.optional("maximum", float),
    )


def _categorical(table: _Table) -> CategoricalFeature:
    return CategoricalFeature(
        column=table.required("column", str),
        values=table.texts("values") if table.has("values") else None,
    )


def _split(table: _Table) -> Split:
    with table.table("split") as split:
        shares = Split(
            train=split.required("train", float),
            validation=split.required("validation", float),
            test=split.required("test", float),
            seed=split.required("seed", int),
        )
        parts = (shares.train, shares.validation, shares.test)
        if min(parts) <= 0 or not math.isclose(sum(parts), 1.0):
            raise split.error("split", "must have three shares above 0 that add up to 1")
        return shares


def _training(table: _Table) -> Training:
    with table.table("training") as training:
        values = Training(
            epochs=training.required("epochs", int),
            layers=training.required("layers", int),
            units=training.required("units", int),
            batch_size=training.required("batch_size", int),
            learning_rate=training.required("learning_rate", float),
            patience=training.required("patience", int),
            seed=training.required("seed", int),
        )
        for key in ("epochs", "layers", "units", "batch_size", "learning_rate", "patience"):
            if getattr(values, key) <= 0:
                raise training.error(training.name(key), "must be above 0")
        return values


def _gate(table: _Table) -> Gate:
    with table.table("gate") as gate:
        return Gate(metric=gate.choice("metric", METRICS), maximum=gate.required("maximum", float))


def _names(table: _Table) -> Names:
    with table.table("names") as names:
        values = Names(
            pipeline=names.required("pipeline", str),
            model_package_group=names.required("model_package_group", str),
            endpoint=names.required("endpoint", str),
        )
        patterns: Mapping[str, re.Pattern[str]] = {
            "pipeline": _PIPELINE_NAME,
            "model_package_group": _ENTITY_NAME,
            "endpoint": _ENTITY_NAME,
        }
        for key, pattern in patterns.items():
            if not pattern.fullmatch(getattr(values, key)):
                raise names.error(
                    names.name(key),
                    f"is {getattr(values, key)!r}; SageMaker takes letters, digits and hyphens",
                )
        return values


def _check_columns(dataset: Dataset) -> None:
    features = [feature.column for feature in dataset.numeric]
    features += [feature.column for feature in dataset.categorical]
    used = [dataset.target.column, *features]
    unknown = [column for column in used if column not in dataset.columns]
    twice = sorted({column for column in used if used.count(column) > 1})
    problem = None
    if not features:
        problem = "features must name at least one column"
    elif unknown:
        problem = f"columns has no {unknown[0]!r}, which target or features name"
    elif twice:
        problem = f"target and features use {twice[0]!r} twice"
    if problem:
        raise DataError(
            f"The dataset descriptor: {problem}",
            where=str(dataset.descriptor),
            next_step=f"the columns are {', '.join(dataset.columns)}",
        )


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_rows(dataset: Dataset, path: Path) -> None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            count = _count_rows(dataset, path, file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"The data file cannot be read as CSV: {error}",
            where=str(path),
            next_step="give a CSV file in UTF-8",
        ) from error
    if count == 0:
        raise _no_rows(dataset, path, "has a header and no rows" if dataset.header else "is empty")


def _no_rows(dataset: Dataset, path: Path, problem: str) -> DataError:
    return DataError(
        f"The data file {problem}",
        where=str(path),
        next_step=f"give a file with the rows of '{dataset.name}'",
    )


def _count_rows(dataset: Dataset, path: Path, file: TextIO) -> int:
    """The number of rows, each checked for its column count and its target."""
    reader = csv.reader(file)
    target = dataset.columns.index(dataset.target.column)
    width = len(dataset.columns)
    if dataset.header:
        target = _check_header(dataset, path, next(reader, None)).index(dataset.target.column)
    count = 0
    for row in reader:
        if not row:
            continue
        count += 1
        if len(row) != width:
            problem = f"has {len(row)} columns, and the descriptor names {width}"
        elif (reason := _target_problem(row[target], dataset.target)) is not None:
            problem = f"has {row[target]!r} as {dataset.target.column}, which is {reason}"
        else:
            continue
        raise DataError(
            f"Row {reader.line_num} of the data {problem}",
            where=f"{path}:{reader.line_num}",
            next_step=f"correct the row, or the descriptor {dataset.descriptor}",
        )
    return count


def _check_header(dataset: Dataset, path: Path, header: list[str] | None) -> list[str]:
    """The header's names; any order will do, another set of names will not."""
    if header is None:
        raise _no_rows(dataset, path, "is empty")
    names = [name.strip() for name in header]
    if sorted(names) != sorted(dataset.columns):
        raise DataError(
            f"The header has {len(names)} columns ({','.join(names)[:80]}), and the descriptor "
            f"names {len(dataset.columns)} ({','.join(dataset.columns)[:80]})",
            where=f"{path}:1",
            next_step=f"correct the header, or the descriptor {dataset.descriptor}",
        )
    return names


def _target_problem(text: str, target: Target) -> str | None:
    try:
        value = float(text)
    except ValueError:
        return "not a number"
    if not math.isfinite(value):
        return "not a finite number"
    if target.transform == "log" and value <= 0:
        return "not above 0, as a log scale needs"
    return None
