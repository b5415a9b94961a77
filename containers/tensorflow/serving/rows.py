"""A request's body as the model's columns, or one sentence that says what is wrong with it.

Both forms hold raw rows. The model's inputs are those of preprocessing.json, in its order; a value
is read as preprocess.py and evaluate.py read it, so that a row has one meaning everywhere:

- text/csv without a header: each row has exactly the inputs, in their order.
- text/csv with a header: the first row names every input, in any order. Other columns are not read
  (a file's target or identifiers may stay in), so that a whole file can be sent as it is.
- application/json: one object by column names, a list of objects, a list of lists in the inputs'
  order, one list of values, or any of these under "instances". An object names every input; other
  names are not read.

A number that is missing is an empty cell, `NA`, `null`, … in CSV and null in JSON; a missing text
is the empty text. Both are what the model's own imputation is for: they are no errors.
"""

import csv
import io
import json
import math

from serving.problems import RequestProblem

MISSING = {"", "na", "n/a", "nan", "null", "none"}  # as in preprocess.py
SHOWN_CHARACTERS = 60
"""So much of a wrong value does a message show."""


class Inputs:
    """The columns that a model takes, in their order: names, tensor names, numbers or words."""

    def __init__(self, preprocessing):
        described = preprocessing["inputs"]
        self.names = [row["column"] for row in described]
        self.tensors = [row["name"] for row in described]
        self.numeric = [row["type"] == "number" for row in described]
        self.count = len(described)

    def described(self):
        return f"{self.count} columns, {', '.join(self.names)}"


# --- CSV -------------------------------------------------------------------------------------


def parse_csv(body, inputs):
    """The body's rows as one list of values for each input. Raises RequestProblem."""
    rows = csv_rows(body)
    positions = header_positions(rows[0], inputs)
    if positions is None:
        width, positions = inputs.count, range(inputs.count)
        expected = f"the model takes {inputs.described()} (a header row may name more)"
    else:
        width, expected = len(rows[0]), f"the header has {count(rows[0], 'column')}"
        del rows[0]
        if not rows:
            raise RequestProblem(400, "the body has a header and no rows")
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise RequestProblem(400, f"row {number} has {count(row, 'value')}; {expected}")
    columns = list(zip(*rows))
    return [
        (csv_numbers if numeric else csv_words)(columns[position], name)
        for position, name, numeric in zip(positions, inputs.names, inputs.numeric)
    ]


def csv_rows(body):
    try:
        text = body.decode("utf-8-sig")  # spreadsheets begin a file with a byte order mark
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError as error:
        raise RequestProblem(400, f"the body is not UTF-8: {error.reason}") from None
    except csv.Error as error:
        raise RequestProblem(400, f"the body is not CSV: {error}") from None
    if not rows:
        raise RequestProblem(400, "the body has no rows")
    return rows


def header_positions(row, inputs):
    """Where the inputs are if `row` is a header; None if it is a row of values."""
    names = [cell.strip() for cell in row]
    missing = [name for name in inputs.names if name not in names]
    if not missing:
        twice = [name for name in inputs.names if names.count(name) > 1]
        if twice:
            raise RequestProblem(400, f"the header names the column {twice[0]!r} twice")
        return [names.index(name) for name in inputs.names]
    holds_numbers = any(number_or_none(name) is not None for name in names)
    if len(missing) < inputs.count and any(inputs.numeric) and not holds_numbers:
        raise RequestProblem(
            400, f"the header has no column {', '.join(map(repr, missing))}; it has {shown(names)}"
        )
    return None


def csv_numbers(cells, name):
    try:
        return list(map(float, cells))  # float() strips, and takes "nan" too
    except ValueError:
        return [number(cell, name, row) for row, cell in enumerate(cells, 1)]


def csv_words(cells, _):
    return [cell.strip() for cell in cells]


def number_or_none(text):
    try:
        return float(text)
    except ValueError:
        return None


def number(text, name, row):
    """A cell's number, NaN where it is missing."""
    if text.strip().lower() in MISSING:
        return math.nan
    value = number_or_none(text)
    if value is None:
        raise RequestProblem(
            400, f"row {row}, column {name!r}: {shown(text)} is not a number (empty: missing)"
        )
    return value


# --- JSON ------------------------------------------------------------------------------------


def parse_json(body, inputs):
    """The body's rows as one list of values for each input. Raises RequestProblem."""
    try:
        document = json.loads(body)
    except UnicodeDecodeError as error:
        raise RequestProblem(400, f"the body is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise RequestProblem(400, "the body is nested too deeply") from None
    except ValueError as error:  # also a number of thousands of digits
        raise RequestProblem(400, f"the body is not JSON: {error}") from None
    rows = json_rows(document, inputs)
    if not rows:
        raise RequestProblem(400, "the body has no rows")
    ordered = [in_order(row, position, inputs) for position, row in enumerate(rows, 1)]
    return [
        (json_numbers if numeric else json_words)(values, name)
        for values, name, numeric in zip(zip(*ordered), inputs.names, inputs.numeric)
    ]


def json_rows(document, inputs):
    if isinstance(document, dict) and "instances" in document and "instances" not in inputs.names:
        document = document["instances"]
    if isinstance(document, dict):
        return [document]
    if not isinstance(document, list):
        raise RequestProblem(
            400, f"the body is {kind(document)}: an object, a list of rows or instances is expected"
        )
    if any(isinstance(row, (dict, list)) for row in document):
        return document
    if inputs.count == 1:
        return [[value] for value in document]
    return [document] if document else []  # the values of one row


def in_order(row, position, inputs):
    if isinstance(row, dict):
        try:
            return [row[name] for name in inputs.names]
        except KeyError as error:
            raise RequestProblem(
                400,
                f"row {position} has no column {error.args[0]!r}; the model takes "
                f"{inputs.described()} (null: missing)",
            ) from None
    if not isinstance(row, list):
        raise RequestProblem(
            400, f"row {position} is {kind(row)}: an object or a list of values is expected"
        )
    if len(row) != inputs.count:
        raise RequestProblem(
            400, f"row {position} has {count(row, 'value')}; the model takes {inputs.described()}"
        )
    return row


def json_numbers(values, name):
    if all(type(value) is float for value in values):
        return list(values)
    return [json_number(value, name, row) for row, value in enumerate(values, 1)]


def json_number(value, name, row):
    if value is None:
        return math.nan
    if isinstance(value, str):  # the rows of a CSV file, turned to JSON as they are
        return number(value, name, row)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise RequestProblem(
                400, f"row {row}, column {name!r}: the number is too large"
            ) from None
    raise RequestProblem(
        400, f"row {row}, column {name!r}: {kind(value)} where a number or null is expected"
    )


def json_words(values, name):
    return [json_word(value, name, row) for row, value in enumerate(values, 1)]


def json_word(value, name, row):
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RequestProblem(
            400, f"row {row}, column {name!r}: {kind(value)} where a text or null is expected"
        )
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a pair, written as an escape: no text in any encoding
        raise RequestProblem(400, f"row {row}, column {name!r}: the text is not Unicode") from None
    return value.strip()


# --- words for messages ----------------------------------------------------------------------


def kind(value):
    """A JSON value as a person names it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    return "a list" if isinstance(value, list) else "an object"


def shown(value):
    text = ", ".join(value) if isinstance(value, list) else repr(value)
    # Printable ASCII only: the sentence may travel through headers and logs.
    text = text.encode("ascii", "backslashreplace").decode("ascii")
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def count(values, noun):
    return f"{len(values)} {noun}{'' if len(values) == 1 else 's'}"
