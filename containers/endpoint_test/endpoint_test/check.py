"""Sends the rows one by one and judges: counts, finiteness, the error, the time."""

import math
import time

from endpoint_test.aws import FetchProblem, RequestFailed
from endpoint_test.holdout import HoldoutProblem, read_holdout, scaled

MOST_FAILURES_SHOWN = 10
FAILURES_IN_A_ROW = 10
"""After so many the endpoint is not asked again: each request may take it a minute."""
RESERVE_MS = 2000
"""So much of the function's time is left to it to report."""
SAMPLING_DEVIATIONS = 4.0
"""How far the MSE of a sample may lie from the evaluation's, in its own standard errors."""
RELATIVE_TOLERANCE = 1e-3
"""How far the MSE of all rows may: an endpoint rounds its answers, the evaluation does not."""


class Failures:
    """Sentences, the first ones kept and the rest counted."""

    def __init__(self):
        self.shown = []
        self.count = 0

    def add(self, text):
        self.count += 1
        if self.count <= MOST_FAILURES_SHOWN:
            self.shown.append(text)

    def listed(self):
        more = self.count - len(self.shown)
        return self.shown + ([f"and {more} more"] if more else [])


class Results:
    """What came of the requests."""

    def __init__(self):
        self.requests = 0
        self.squares = []
        self.times_ms = []
        self.failures = Failures()


def check_endpoint(order, clients, remaining_ms):
    """The answer of the function. Raises what the event or the rows are to blame for."""
    rows, total = read_rows(order, clients)
    expected = None if order.evaluation is None else read_mse(order, clients)
    results = Results()
    send_all(rows, order, clients, remaining_ms, results)
    mse = mean(results.squares)
    judge(mse, expected, total, order, results)
    return report(mse, results)


def read_rows(order, clients):
    bucket, key = order.holdout
    try:
        return read_holdout(clients.read_text(bucket, key), order)
    except HoldoutProblem as error:
        raise HoldoutProblem(f"{error}: s3://{bucket}/{key}") from None


def read_mse(order, clients):
    bucket, key = order.evaluation
    document = clients.read_json(bucket, key)
    try:
        return float(document["regression_metrics"]["mse"]["value"])
    except (KeyError, TypeError, ValueError):
        raise FetchProblem(f"s3://{bucket}/{key} has no regression_metrics.mse.value") from None


def send_all(rows, order, clients, remaining_ms, results):
    in_a_row = 0
    for sent, row in enumerate(rows):
        if remaining_ms() < RESERVE_MS:
            results.failures.add(
                f"only {sent} of {len(rows)} rows were sent: the function's time is up; give it a "
                "longer Timeout or a smaller max_requests"
            )
            return
        if row.problem:
            results.failures.add(f"row {row.number}: {row.problem}")
            continue
        failed = send(row, order, clients, results)
        if failed and failed.hopeless:
            return
        in_a_row = in_a_row + 1 if failed else 0
        if in_a_row == FAILURES_IN_A_ROW:
            results.failures.add(f"gave up after {in_a_row} requests without an answer in a row")
            return


def send(row, order, clients, results):
    """One request; the error where it has no answer."""
    results.requests += 1
    started = time.perf_counter()
    try:
        text = clients.predict(order.endpoint, row.line)
    except RequestFailed as error:
        results.failures.add(f"row {row.number}: {error}")
        return error
    results.times_ms.append((time.perf_counter() - started) * 1000)
    judge_answer(row, text, order, results)
    return None


def judge_answer(row, text, order, results):
    values = [value for value in text.replace("\n", ",").split(",") if value.strip()]
    if len(values) != 1:
        results.failures.add(f"row {row.number}: {len(values)} predictions for one row")
        return
    try:
        predicted = scaled(values[0], order.transform)
    except ValueError as error:
        results.failures.add(f"row {row.number}: the prediction {error}")
        return
    results.squares.append((predicted - row.actual) ** 2)


def judge(mse, expected, total, order, results):
    """Hold the error against the evaluation's and against the limit."""
    if mse is None:
        if not results.failures.count:
            results.failures.add("no row has a prediction")
        return
    if order.max_mse is not None and mse > order.max_mse:
        results.failures.add(f"the MSE {mse:.6g} is above {order.max_mse:g}")
    if expected is None:
        return
    allowed = tolerance(results.squares, mse, expected, total)
    if not abs(mse - expected) <= allowed:
        results.failures.add(
            f"the MSE {mse:.6g} is not the evaluation's {expected:.6g} (within {allowed:.2g})"
        )


def tolerance(squares, mse, expected, total):
    """How far the two may lie apart: all rows agree, a sample does within its standard error."""
    allowed = RELATIVE_TOLERANCE * abs(expected)
    count = len(squares)
    if 1 < count < total:
        variance = sum((square - mse) ** 2 for square in squares) / (count - 1)
        allowed += SAMPLING_DEVIATIONS * math.sqrt(variance / count * (1 - count / total))
    return allowed


def report(mse, results):
    # The first request pays for connecting, and for the clients being made.
    steady = sorted(results.times_ms[1:] or results.times_ms)
    return {
        "status": "failed" if results.failures.count else "passed",
        "requests": results.requests,
        "mse": mse,
        "mean_ms": rounded(mean(steady)),
        "p50_ms": rounded(percentile(steady, 0.50)),
        "p95_ms": rounded(percentile(steady, 0.95)),
        "p99_ms": rounded(percentile(steady, 0.99)),
        "first_ms": rounded(results.times_ms[0] if results.times_ms else None),
        "failures": results.failures.listed(),
    }


def mean(values):
    return sum(values) / len(values) if values else None


def percentile(ordered, part):
    """The nearest rank."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else None


def rounded(value):
    return None if value is None else round(value, 3)
