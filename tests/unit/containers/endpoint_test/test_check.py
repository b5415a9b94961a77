"""The test itself, against an endpoint and a bucket that are functions here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

Predict = Callable[[list[str]], str]


class Bucket:
    """``endpoint_test.aws.Clients`` for a test: what is in S3, and what the endpoint answers."""

    def __init__(self, load: Any, files: dict[str, str], predict: Predict) -> None:
        self.failure = load("aws").RequestFailed
        self.missing = load("aws").FetchProblem
        self.files = files
        self.answer = predict
        self.asked: list[str] = []

    def read_text(self, bucket: str, key: str) -> str:
        if key not in self.files:
            raise self.missing(f"s3://{bucket}/{key} cannot be read: NoSuchKey")
        return self.files[key]

    def read_json(self, bucket: str, key: str) -> Any:
        return json.loads(self.read_text(bucket, key))

    def predict(self, endpoint: str, line: str) -> str:
        self.asked.append(line)
        return self.answer(line.split(","))


HOLDOUT = "run/holdout/holdout.csv"


def holdout(rows: int = 40) -> str:
    """Prices of 100 times the carat; the columns are in another order than the endpoint's."""
    lines = [f"Ideal,{100 * carat},{carat},x" for carat in range(1, rows + 1)]
    return "\n".join(["cut,price,carat,unused", *lines]) + "\n"


def evaluation(mse: float) -> str:
    return json.dumps({"regression_metrics": {"mse": {"value": mse}}})


def exact(values: list[str]) -> str:
    return f"{100 * float(values[0])}\n"


@pytest.fixture
def check(load: Any, event: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Run the test; keywords are the event's, `files` what is in S3, `predict` the endpoint."""

    def run(
        predict: Predict = exact,
        files: dict[str, str] | None = None,
        remaining: Callable[[], int] = lambda: 60_000,
        **more: Any,
    ) -> dict[str, Any]:
        order = load("event").read_event(event | more)
        run.bucket = Bucket(load, files or {HOLDOUT: holdout()}, predict)  # type: ignore[attr-defined]  # what the test looks at afterwards
        result: dict[str, Any] = load("check").check_endpoint(order, run.bucket, remaining)  # type: ignore[attr-defined]  # set above
        return result

    return run


def test_an_endpoint_that_is_right(check: Any) -> None:
    result = check()
    assert (result["status"], result["requests"], result["failures"]) == ("passed", 40, [])
    assert result["mse"] == 0
    assert 0 <= result["p50_ms"] <= result["p95_ms"] <= result["p99_ms"]
    assert json.loads(json.dumps(result)) == result


def test_rows_go_in_the_endpoints_order_of_columns(check: Any) -> None:
    check()
    assert check.bucket.asked[0] == "1,Ideal"


def test_a_value_with_a_comma_stays_one(check: Any) -> None:
    rows = 'cut,price,carat\n"Very, very good",100,1\n'
    check(files={HOLDOUT: rows}, predict=lambda values: "100")
    assert check.bucket.asked == ['1,"Very, very good"']


def test_a_sample_is_the_same_each_time(check: Any) -> None:
    result = check(max_requests=4)
    asked = check.bucket.asked
    assert (result["requests"], len(set(asked))) == (4, 4)
    check(max_requests=4)
    assert check.bucket.asked == asked


def test_errors_count_on_the_scale_of_the_evaluation(check: Any) -> None:
    result = check(predict=lambda values: str(200 * float(values[0])), transform="log")
    assert result["mse"] == pytest.approx(math.log(2) ** 2)


def test_the_evaluations_error_is_met(check: Any) -> None:
    files = {HOLDOUT: holdout(), "e/evaluation.json": evaluation(100.0)}
    off_by_ten = lambda values: str(100 * float(values[0]) + 10)  # noqa: E731 - shorter than a function
    result = check(off_by_ten, files, evaluation_s3_uri="s3://bucket/e/evaluation.json")
    assert result["status"] == "passed"


def test_all_rows_with_another_error_than_the_evaluations(check: Any) -> None:
    files = {HOLDOUT: holdout(), "e/evaluation.json": evaluation(100.0)}
    off_by_eleven = lambda values: str(100 * float(values[0]) + 11)  # noqa: E731 - shorter than a function
    result = check(off_by_eleven, files, evaluation_s3_uri="s3://bucket/e/")
    assert result["status"] == "failed"
    assert result["failures"] == ["the MSE 121 is not the evaluation's 100 (within 0.1)"]


def test_a_sample_may_lie_within_its_standard_error(check: Any) -> None:
    """Errors of 0 and 20 in turn: 200 over all rows, something near it in a sample."""

    def now_and_then(values: list[str]) -> str:
        carat = float(values[0])
        return str(100 * carat + (20 if int(carat) % 3 == 0 else 0))

    files = {HOLDOUT: holdout(3000), "e/evaluation.json": evaluation(400 / 3)}
    sample = {"max_requests": 100, "evaluation_s3_uri": "s3://bucket/e/"}
    assert check(now_and_then, files, **sample)["status"] == "passed"
    wrong = check(lambda values: str(130 * float(values[0])), files, **sample)
    assert wrong["status"] == "failed"


def test_the_limit(check: Any) -> None:
    result = check(lambda values: "0", max_mse=1.0)
    assert result["status"] == "failed"
    assert "is above 1" in result["failures"][0]


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("1\n2\n", "row 1: 2 predictions for one row"),
        ("", "row 1: 0 predictions for one row"),
        ("nan", "row 1: the prediction is nan, which is not finite"),
        ("inf", "row 1: the prediction is inf, which is not finite"),
        ("cheap", "row 1: the prediction is 'cheap', which is no number"),
        ("-5", "row 1: the prediction is -5, which has no logarithm"),
    ],
)
def test_answers_that_are_no_prediction(check: Any, answer: str, failure: str) -> None:
    result = check(lambda values: answer, transform="log")
    assert result["status"] == "failed"
    assert result["failures"][0] == failure
    assert result["failures"][-1] == "and 30 more"
    assert result["mse"] is None


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("Ideal,100", "row 2: it has 2 values, the header has 3"),
        ("Ideal,dear,1", "row 2: its price is 'dear', which is no number"),
        ("Ideal,0,1", "row 2: its price is 0, which has no logarithm"),
    ],
)
def test_bad_rows_are_told_and_passed_over(check: Any, line: str, failure: str) -> None:
    rows = f"cut,price,carat\nIdeal,100,1\n{line}\nIdeal,300,3\n"
    result = check(files={HOLDOUT: rows}, transform="log")
    assert (result["status"], result["requests"]) == ("failed", 2)
    assert result["failures"] == [failure]
    assert result["mse"] == pytest.approx(0)


def test_a_request_that_fails_for_its_row(load: Any, check: Any) -> None:
    def refuse_the_second(values: list[str]) -> str:
        if values[0] == "2":
            raise load("aws").RequestFailed("ModelError: row 1, column carat")
        return exact(values)

    result = check(refuse_the_second)
    assert (result["status"], result["requests"]) == ("failed", 40)
    assert result["failures"] == ["row 2: ModelError: row 1, column carat"]


def test_an_endpoint_that_is_not_there_is_asked_once(load: Any, check: Any) -> None:
    def missing(values: list[str]) -> str:
        raise load("aws").RequestFailed("Endpoint x not found", hopeless=True)

    result = check(missing)
    assert (result["status"], result["requests"]) == ("failed", 1)
    assert result["mean_ms"] is None


def test_a_dead_endpoint_is_not_asked_for_ever(load: Any, check: Any) -> None:
    def dead(values: list[str]) -> str:
        raise load("aws").RequestFailed("timed out")

    result = check(dead)
    assert result["requests"] == 10
    assert result["failures"][-1] == "and 1 more"


def test_time_that_runs_out(check: Any) -> None:
    left = iter(range(5000, 0, -1000))
    result = check(remaining=lambda: next(left))
    assert result["requests"] == 4
    assert result["status"] == "failed"
    assert "only 4 of 40 rows were sent" in result["failures"][0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the file of held-out rows is empty"),
        ("cut,price,carat\n", "has a header and no rows"),
        ("cut,carat\nIdeal,1\n", "no column price, only cut, carat"),
    ],
)
def test_rows_that_cannot_be_used(load: Any, check: Any, text: str, problem: str) -> None:
    with pytest.raises(load("holdout").HoldoutProblem, match=problem):
        check(files={HOLDOUT: text} if text else {HOLDOUT: "\n"})


def test_what_is_not_in_s3(load: Any, check: Any) -> None:
    with pytest.raises(load("aws").FetchProblem, match="NoSuchKey"):
        check(files={"other": "x"})
    with pytest.raises(load("aws").FetchProblem, match="has no regression_metrics"):
        check(
            files={HOLDOUT: holdout(), "e/evaluation.json": "{}"},
            evaluation_s3_uri="s3://bucket/e/",
        )


def test_the_first_request_is_timed_apart(load: Any, check: Any) -> None:
    import time

    def slow_at_first(values: list[str]) -> str:
        time.sleep(0.05 if values[0] == "1" else 0)
        return exact(values)

    result = check(slow_at_first)
    assert result["first_ms"] >= 50
    assert result["p99_ms"] < 50
