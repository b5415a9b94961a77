"""What the function takes for an event."""

from __future__ import annotations

from typing import Any

import pytest


def test_an_event(load: Any, event: dict[str, Any]) -> None:
    order = load("event").read_event(event)
    assert (order.endpoint, order.target, order.columns) == (
        "diamonds-dev",
        "price",
        ["carat", "cut"],
    )
    assert order.holdout == ("bucket", "run/holdout/holdout.csv")
    assert (order.transform, order.max_requests) == ("none", 200)
    assert (order.evaluation, order.max_mse) == (None, None)


def test_folders_stand_for_the_files_in_them(load: Any, event: dict[str, Any]) -> None:
    event |= {"holdout_s3_uri": "s3://b/holdout/", "evaluation_s3_uri": "s3://b/evaluation"}
    order = load("event").read_event(event)
    assert order.holdout == ("b", "holdout/holdout.csv")
    assert order.evaluation == ("b", "evaluation/evaluation.json")


def test_nulls_count_as_absent(load: Any, event: dict[str, Any]) -> None:
    optional = ("transform", "evaluation_s3_uri", "max_requests", "max_mse")
    order = load("event").read_event(event | dict.fromkeys(optional))
    assert (order.transform, order.max_requests) == ("none", 200)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"endpoint_name": None}, "endpoint_name must be a text"),
        ({"holdout_s3_uri": "http://x/y"}, "holdout_s3_uri must be s3://bucket/key"),
        ({"holdout_s3_uri": "s3://bucket"}, "holdout_s3_uri must be s3://bucket/key"),
        ({"evaluation_s3_uri": 7}, "evaluation_s3_uri must be a text"),
        ({"columns": []}, "columns must be a list of texts"),
        ({"columns": "carat"}, "columns must be a list of texts"),
        ({"target": ""}, "target must be a text"),
        ({"transform": "sqrt"}, "transform must be one of none, log"),
        ({"max_requests": 0}, "max_requests must be a number above 0"),
        ({"max_requests": True}, "max_requests must be a number above 0"),
        ({"max_mse": "0.03"}, "max_mse must be a number above 0"),
        ({"endpoint": "x"}, "there is no 'endpoint' in an event"),
    ],
)
def test_what_makes_no_sense(
    load: Any, event: dict[str, Any], change: dict[str, Any], problem: str
) -> None:
    module = load("event")
    with pytest.raises(module.EventProblem) as caught:
        module.read_event(event | change)
    assert problem in str(caught.value)


def test_everything_that_is_wrong_is_told(load: Any) -> None:
    module = load("event")
    with pytest.raises(module.EventProblem) as caught:
        module.read_event({})
    assert str(caught.value).count(";") == 3
    with pytest.raises(module.EventProblem, match="must be a JSON object"):
        module.read_event([1])
