"""The held-out rows: which of them are sent, and what should come back."""

import csv
import io
import math
import random


class HoldoutProblem(Exception):
    """The file of held-out rows cannot be used at all."""


class Row:
    """One row to send. `actual` is its true value on the scale that counts; `problem` says why
    there is none."""

    def __init__(self, number, line, actual, problem):
        self.number = number  # within the file, from 1, the header not counted
        self.line = line
        self.actual = actual
        self.problem = problem


def read_holdout(text, order):
    """The rows to send, and how many there are. Raises HoldoutProblem."""
    records = [record for record in csv.reader(io.StringIO(text, newline="")) if record]
    if not records:
        raise HoldoutProblem("the file of held-out rows is empty")
    header, records = records[0], records[1:]
    lacking = [name for name in [*order.columns, order.target] if name not in header]
    if lacking:
        raise HoldoutProblem(
            "the held-out rows have no column {}, only {}".format(
                ", ".join(lacking), ", ".join(header)
            )
        )
    if not records:
        raise HoldoutProblem("the file of held-out rows has a header and no rows")
    return [
        make_row(index + 1, records[index], header, order)
        for index in sample(len(records), order.max_requests)
    ], len(records)


def sample(count, wanted):
    """`wanted` of `count` positions, in order: a random sample, the same each time."""
    return sorted(random.Random(0).sample(range(count), min(count, wanted)))


def make_row(number, record, header, order):
    if len(record) != len(header):
        problem = f"it has {len(record)} values, the header has {len(header)}"
        return Row(number, None, None, problem)
    values = dict(zip(header, record))
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([values[name] for name in order.columns])
    try:
        actual = scaled(values[order.target], order.transform)
    except ValueError as error:
        return Row(number, None, None, f"its {order.target} {error}")
    return Row(number, line.getvalue(), actual, None)


def scaled(text, transform):
    """A value in its own unit, on the scale on which errors count. Raises ValueError."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"is {text[:60]!r}, which is no number") from None
    if not math.isfinite(value):
        raise ValueError(f"is {value}, which is not finite")
    if transform != "log":
        return value
    if value <= 0:
        raise ValueError(f"is {value:g}, which has no logarithm")
    return math.log(value)
