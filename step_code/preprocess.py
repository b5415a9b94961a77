"""The ETL step: raw rows in; three splits, the raw holdout and the statistics out.

    raw CSV + dataset.json → clean → split → impute, transform, scale, one-hot → CSV and JSON

Every statistic (median, mean, scale, vocabulary) comes from the training split alone and is
written as JSON: a pickle made in one image need not load in another. Runs anywhere with Python
3.9 and numpy; the numbers are the same for every version of them. See README.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import keyword
import math
import os
import re
import sys

import numpy as np

MISSING = {"", "na", "n/a", "nan", "null", "none"}
MINIMUM_ROWS = 20
MAXIMUM_WORDS = 200
SPLITS = ("train", "validation", "test")
# Nine significant digits are what a 32-bit number, which the net computes with, can hold.
NUMBER_FORMAT = "%.9g"


class DataProblem(Exception):
    """One line that says what is wrong with the input, where, and what to do."""


# --- reading ---------------------------------------------------------------------------------


def read_descriptor(path):
    """The descriptor as plain dictionaries, with every optional key filled in."""
    path = os.path.join(path, "dataset.json") if os.path.isdir(path) else path
    try:
        with open(path, encoding="utf-8") as file:
            return complete_descriptor(json.load(file))
    except FileNotFoundError:
        raise DataProblem(f"there is no descriptor {path}") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataProblem(f"the descriptor {path} is not JSON: {error}") from None
    except KeyError as error:
        raise DataProblem(f"the descriptor {path} lacks the key {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise DataProblem(f"the descriptor {path} has a wrong form: {error}") from None


def complete_descriptor(given):
    """Fill in what is optional and check that only columns of the file are named."""
    optional = {"transform": "none", "zero_is_missing": False, "minimum": None, "maximum": None}
    descriptor = {
        "name": given["name"],
        "file": given["file"],
        "header": given["header"],
        "columns": list(given["columns"]),
        "target": {"transform": "none", "unit": None, **given["target"]},
        "numeric": [{**optional, **row} for row in given["features"].get("numeric", [])],
        "categorical": [
            {"values": None, **row} for row in given["features"].get("categorical", [])
        ],
        "shares": {name: float(given["split"][name]) for name in SPLITS},
        "seed": int(given["split"]["seed"]),
    }
    features = descriptor["numeric"] + descriptor["categorical"]
    if not features:
        raise DataProblem("the descriptor names no features")
    for row in [descriptor["target"], *features]:
        if row["column"] not in descriptor["columns"]:
            raise DataProblem(
                f"the descriptor names a column {row['column']!r}, and its columns are "
                + ", ".join(descriptor["columns"])
            )
        if row.get("transform", "none") not in ("log", "none"):
            raise DataProblem(
                f"column {row['column']!r} has the transform {row['transform']!r}; "
                "it may be log or none"
            )
    return descriptor


def find_csv(path, file_name):
    """The data file: `path` itself, or the one in that folder."""
    if os.path.isfile(path):
        return path
    if not os.path.isdir(path):
        raise DataProblem(f"there is no data at {path}")
    names = sorted(name for name in os.listdir(path) if not name.startswith("."))
    if file_name in names:
        return os.path.join(path, file_name)
    if len(names) == 1:
        return os.path.join(path, names[0])
    raise DataProblem(f"{path} should hold {file_name}, and holds {', '.join(names) or 'nothing'}")


class Table:
    """The raw rows, cell by cell as text, and the line of the file that each ended on."""

    def __init__(self, columns, rows, lines):
        self.columns = columns
        self.rows = rows
        self.lines = lines

    def cells(self, column):
        position = self.columns.index(column)
        return [row[position] for row in self.rows]


def read_table(path, descriptor):
    """All rows, their cells in the descriptor's order of columns."""
    name = os.path.basename(path)
    columns = descriptor["columns"]
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            order = read_header(reader, name, columns) if descriptor["header"] else None
            rows, lines = read_rows(reader, name, len(columns))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataProblem(f"{name} cannot be read as CSV in UTF-8: {error}") from None
    if not rows:
        raise DataProblem(
            f"{name} has a header and no rows" if descriptor["header"] else f"{name} is empty"
        )
    if len(rows) < MINIMUM_ROWS:
        raise DataProblem(
            f"{name} has {len(rows)} rows; at least {MINIMUM_ROWS} are needed to learn from"
        )
    if order is not None and order != list(range(len(columns))):
        rows = [[row[position] for position in order] for row in rows]
    return Table(columns, rows, lines)


def read_header(reader, name, columns):
    """Where in a row of the file each of `columns` is."""
    header = [cell.strip() for cell in next(reader, [])]
    if not header:
        raise DataProblem(f"{name} is empty")
    if sorted(header) != sorted(columns):
        raise DataProblem(
            f"row 1 of {name}: the header has {len(header)} columns ({','.join(header)[:80]}), "
            f"the descriptor {len(columns)} ({','.join(columns)[:80]})"
        )
    return [header.index(column) for column in columns]


def read_rows(reader, name, width):
    rows, lines = [], []
    for row in reader:
        if not row:
            continue  # a blank line
        if len(row) != width:
            raise DataProblem(
                f"row {reader.line_num} of {name} has {len(row)} columns instead of {width}"
            )
        rows.append([cell.strip() for cell in row])
        lines.append(reader.line_num)
    return rows, lines


# --- cleaning --------------------------------------------------------------------------------


def numbers(table, column):
    """A column as floats, NaN where nothing is given."""
    cells = table.cells(column)
    try:
        return np.array(
            [float(cell) if cell.lower() not in MISSING else math.nan for cell in cells]
        )
    except ValueError:
        for line, cell in zip(table.lines, cells):
            if cell.lower() not in MISSING and not is_number(cell):
                raise DataProblem(f"row {line}: {column} is {cell!r}, not a number") from None
        raise


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def target_values(table, target):
    """The target on the scale that the net learns."""
    values = numbers(table, target["column"])
    usable = np.isfinite(values)
    wanted = "a finite number"
    if target["transform"] == "log":
        usable &= np.where(np.isfinite(values), values, 0) > 0
        wanted = "a number above 0, as a log scale needs"
    if not usable.all():
        first = int(np.argmin(usable))
        cell = table.cells(target["column"])[first]
        raise DataProblem(
            f"row {table.lines[first]}: the target {target['column']} is {cell!r}, not {wanted}"
        )
    return np.log(values) if target["transform"] == "log" else values


def without_impossible(values, feature):
    """`values` with NaN for what cannot be: the serving signature follows the same rules."""
    impossible = ~np.isfinite(values)
    known = np.where(impossible, 1.0, values)
    if feature["zero_is_missing"]:
        impossible |= known == 0
    if feature["transform"] == "log":
        impossible |= known <= 0
    if feature["minimum"] is not None:
        impossible |= known < feature["minimum"]
    if feature["maximum"] is not None:
        impossible |= known > feature["maximum"]
    return np.where(impossible, np.nan, values)


# --- splitting -------------------------------------------------------------------------------


def deal_rows(rows, shares, seed):
    """Row numbers of each split, shuffled.

    Equal rows go to the same split: a test row that the net has seen in training would flatter it.
    RandomState's stream is frozen (numpy's NEP 19), so a seed means the same rows everywhere.
    """
    equal = {}
    for number, row in enumerate(rows):
        equal.setdefault(tuple(row), []).append(number)
    groups = list(equal.values())
    room = {name: round(len(rows) * shares[name]) for name in ("test", "validation")}
    splits = {name: [] for name in SPLITS}
    for position in np.random.RandomState(seed).permutation(len(groups)):
        group = groups[position]
        name = next((name for name in room if len(group) <= room[name]), "train")
        if name in room:
            room[name] -= len(group)
        splits[name].extend(group)
    for name in SPLITS:
        if not splits[name]:
            raise DataProblem(
                f"no row is left for the {name} split: {len(rows)} rows, of which {len(groups)} "
                "differ, are too few"
            )
    return {name: np.array(numbers_of_rows) for name, numbers_of_rows in splits.items()}


# --- statistics, from the training split ------------------------------------------------------


def fit_numeric(feature, training_values):
    """The feature with its median (raw scale), mean and scale (transformed scale)."""
    known = training_values[~np.isnan(training_values)]
    if not known.size:
        raise DataProblem(
            f"column {feature['column']!r} has no usable number in the training split"
        )
    fitted = dict(feature, median=rounded(np.median(known)))
    values = transformed(training_values, fitted)
    # fsum is exact, whatever the order in which a numpy version would add.
    mean = math.fsum(values) / len(values)
    scale = math.sqrt(math.fsum((values - mean) ** 2) / len(values))
    # A constant column says nothing; a scale of 1 keeps it at 0.
    return dict(fitted, mean=rounded(mean), scale=rounded(scale) if scale > 1e-12 else 1.0)


def rounded(value):
    """Ten digits: the last bits of a logarithm differ between processors."""
    return float(f"{value:.10g}")


def transformed(values, fitted):
    filled = np.where(np.isnan(values), fitted["median"], values)
    return np.log(filled) if fitted["transform"] == "log" else filled


def standardised(values, fitted):
    return (transformed(values, fitted) - fitted["mean"]) / fitted["scale"]


def fit_categorical(feature, training_words):
    """The feature with its vocabulary."""
    column = feature["column"]
    seen = set(training_words) - {""}
    vocabulary = feature["values"] if feature["values"] is not None else sorted(seen)
    if len(vocabulary) > MAXIMUM_WORDS:
        raise DataProblem(
            f"column {column!r} has {len(vocabulary)} different words: leave it out or give values"
        )
    if not seen.intersection(vocabulary):
        raise DataProblem(
            f"column {column!r} has no word of its vocabulary {', '.join(vocabulary) or '(empty)'}"
        )
    return dict(feature, values=list(vocabulary))


# --- the whole -------------------------------------------------------------------------------


def input_name(column):
    """The name of a column's tensor in the model's signature, which must be an identifier."""
    name = re.sub(r"\W", "_", column)
    return f"column_{name}" if name[:1].isdigit() or keyword.iskeyword(name) or not name else name


def describe(descriptor, numeric, categorical, rows):
    """What the model needs to turn raw rows into features, as JSON."""
    kinds = {row["column"]: "number" for row in numeric}
    kinds.update({row["column"]: "text" for row in categorical})
    inputs = [
        {"column": column, "name": input_name(column), "type": kinds[column]}
        for column in descriptor["columns"]
        if column in kinds
    ]
    if len({row["name"] for row in inputs}) != len(inputs):
        raise DataProblem("two columns have names that differ in punctuation only; rename one")
    return {
        "dataset": descriptor["name"],
        "target": descriptor["target"],
        "inputs": inputs,
        "numeric": numeric,
        "categorical": categorical,
        "features": [row["column"] for row in numeric]
        + [f"{row['column']}_{word}" for row in categorical for word in row["values"]],
        "rows": rows,
    }


def feature_texts(values, numeric, words, categorical):
    """For each row, its features as the text of a CSV line."""
    columns = []
    for fitted in numeric:
        column = standardised(values[fitted["column"]], fitted)
        columns.append([NUMBER_FORMAT % value for value in column.tolist()])
    for fitted in categorical:
        columns.append(one_hot_texts(words[fitted["column"]], fitted["values"]))
    return [",".join(row) for row in zip(*columns)]


def one_hot_texts(words, vocabulary):
    """A word outside the vocabulary has zeros only, as in the serving signature."""
    hot = {
        word: ",".join("1" if other == word else "0" for other in vocabulary) for word in vocabulary
    }
    unknown = ",".join("0" for _ in vocabulary)
    return [hot.get(word, unknown) for word in words]


def preprocess(raw, dataset, output):
    """Read, clean, split, fit, write. Raises DataProblem."""
    descriptor = read_descriptor(dataset)
    path = find_csv(raw, descriptor["file"])
    table = read_table(path, descriptor)
    say(f"{len(table.rows):,} rows in {os.path.basename(path)}")
    target = target_values(table, descriptor["target"])
    values = {
        row["column"]: without_impossible(numbers(table, row["column"]), row)
        for row in descriptor["numeric"]
    }
    words = {row["column"]: table.cells(row["column"]) for row in descriptor["categorical"]}

    splits = deal_rows(table.rows, descriptor["shares"], descriptor["seed"])
    training = splits["train"]
    numeric = [fit_numeric(row, values[row["column"]][training]) for row in descriptor["numeric"]]
    categorical = [
        fit_categorical(row, [words[row["column"]][number] for number in training])
        for row in descriptor["categorical"]
    ]
    say_what_was_repaired(values, words, numeric, categorical)

    rows = {name: len(splits[name]) for name in SPLITS}
    preprocessing = describe(descriptor, numeric, categorical, rows)
    lines = feature_texts(values, numeric, words, categorical)
    write_splits(output, splits, preprocessing, target, lines)
    write_holdout(output, table, splits["test"])
    write_json(os.path.join(output, "preprocessing", "preprocessing.json"), preprocessing)
    say("detail: " + " · ".join(f"{rows[name]:,} {name}" for name in SPLITS))


def say_what_was_repaired(values, words, numeric, categorical):
    for fitted in numeric:
        count = int(np.isnan(values[fitted["column"]]).sum())
        if count:
            say(f"{fitted['column']}: {count:,} missing or impossible, set to {fitted['median']:g}")
    for fitted in categorical:
        vocabulary = set(fitted["values"])
        count = sum(word not in vocabulary for word in words[fitted["column"]])
        if count:
            say(f"{fitted['column']}: {count:,} outside the vocabulary, one-hot columns 0")


# --- writing ---------------------------------------------------------------------------------


def write_splits(output, splits, preprocessing, target, lines):
    """`<split>/<split>.csv`: the transformed target first, then the features."""
    header = [preprocessing["target"]["column"], *preprocessing["features"]]
    targets = [NUMBER_FORMAT % value for value in target.tolist()]
    for name in SPLITS:
        with open(new_file(output, name, f"{name}.csv"), "w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(header)
            file.writelines(f"{targets[number]},{lines[number]}\n" for number in splits[name])


def write_holdout(output, table, test_rows):
    """The test split as it came, in original units: what a client of the endpoint would send."""
    path = new_file(output, "holdout", "holdout.csv")
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows[number] for number in test_rows)


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")


def new_file(output, folder, name):
    os.makedirs(os.path.join(output, folder), exist_ok=True)
    return os.path.join(output, folder, name)


def say(line):
    print(line, flush=True)


# --- the command -----------------------------------------------------------------------------


def report_failure(base, message):
    """One line on stderr, and in the file that SageMaker shows as the job's exit message."""
    print(message, file=sys.stderr, flush=True)
    if os.path.isdir(base):
        os.makedirs(os.path.join(base, "output"), exist_ok=True)
        with open(os.path.join(base, "output", "message"), "w", encoding="utf-8") as file:
            file.write(message)


def parse_arguments(argv, base):
    processing = os.path.join(base, "processing")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--raw", default=os.path.join(processing, "input", "raw"), help="the CSV file or its folder"
    )
    parser.add_argument(
        "--dataset",
        default=os.path.join(processing, "input", "dataset"),
        help="dataset.json or its folder",
    )
    parser.add_argument(
        "--output",
        default=os.path.join(processing, "output"),
        help="the folder for train/, validation/, test/, holdout/ and preprocessing/",
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Run the step; 0 when it succeeded, 1 when the data or the disk did not allow it."""
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    arguments = parse_arguments(argv, base)
    try:
        preprocess(arguments.raw, arguments.dataset, arguments.output)
    except DataProblem as problem:
        report_failure(base, str(problem))
        return 1
    except OSError as error:
        report_failure(base, f"{error.filename or arguments.output}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
