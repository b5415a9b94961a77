"""Negotiation, paths, and how numbers are written."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.problems import RequestProblem
from serving.routes import (
    Invocations,
    answer_form,
    check_path,
    content_form,
    predictions_answer,
    refusal,
)

CSV, JSON = "text/csv", "application/json"


@pytest.mark.parametrize(
    ("header", "form"),
    [
        (b"text/csv", CSV),
        (b"Text/CSV; charset=UTF-8; header=present", CSV),
        (b"application/json;charset=utf-8", JSON),
        (b'application/json; charset="us-ascii"', JSON),
    ],
)
def test_content_types_that_are_taken(header: bytes, form: str) -> None:
    assert content_form(header) == form


@pytest.mark.parametrize(
    "header",
    [None, b"", b"text/plain", b"application/x-www-form-urlencoded", b"text/csv; charset=latin-1"],
)
def test_other_content_types_are_415(header: bytes | None) -> None:
    with pytest.raises(RequestProblem) as caught:
        content_form(header)
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("accept", "given_form", "form"),
    [
        (None, CSV, CSV),
        (None, JSON, JSON),
        (b"*/*", JSON, JSON),
        (b"text/csv", JSON, CSV),
        (b"application/json", CSV, JSON),
        (b"text/csv, */*", JSON, JSON),
        (b"text/csv, */*;q=0.8", JSON, CSV),
        (b"application/json;q=0.5, text/csv;q=0.9", JSON, CSV),
        (b"text/*", JSON, CSV),
        (b"application/*;q=0.1, text/html", CSV, JSON),
        (b"*/*, text/csv;q=0", CSV, JSON),
        (b"APPLICATION/JSON ; q=1", CSV, JSON),
    ],
)
def test_the_answers_form_follows_accept(accept: bytes | None, given_form: str, form: str) -> None:
    assert answer_form(accept, given_form) == form


@pytest.mark.parametrize("accept", [b"text/html", b"image/*", b"*/*;q=0", b"text/csv;q=0"])
def test_what_cannot_be_accepted_is_406(accept: bytes) -> None:
    with pytest.raises(RequestProblem) as caught:
        answer_form(accept, CSV)
    assert caught.value.status == 406


@given(header=st.binary(max_size=40))
def test_any_header_gives_a_form_or_4xx(header: bytes) -> None:
    assert outcome(lambda: content_form(header)) in (CSV, JSON, 415)
    assert outcome(lambda: answer_form(header, CSV)) in (CSV, JSON, 400, 406)


def outcome(call: Callable[[], str]) -> str | int:
    try:
        return call()
    except RequestProblem as problem:
        status: int = problem.status
        return status


def test_paths_and_methods() -> None:
    check_path("GET", "/ping")
    check_path("HEAD", "/ping")
    check_path("POST", "/invocations")
    for method, path, status in [
        ("GET", "/", 404),
        ("POST", "/ping", 405),
        ("GET", "/invocations", 405),
        ("HEAD", "/invocations", 405),
    ]:
        with pytest.raises(RequestProblem) as caught:
            check_path(method, path)
        assert caught.value.status == status


def test_a_wrong_method_names_the_right_one() -> None:
    with pytest.raises(RequestProblem) as caught:
        check_path("PUT", "/invocations")
    assert refusal(caught.value).headers == [("allow", "POST")]


@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_a_written_number_reads_as_the_very_same(values: list[float]) -> None:
    exact = [struct.unpack("f", struct.pack("f", value))[0] for value in values]
    assert json.loads(predictions_answer(exact, JSON).body) == {"predictions": exact}
    lines = predictions_answer(exact, CSV).body.decode().splitlines()
    assert [float(line) for line in lines] == exact


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_row_without_a_finite_prediction_is_named(value: float) -> None:
    with pytest.raises(RequestProblem, match="row 2") as caught:
        predictions_answer([1.0, value], JSON)
    assert caught.value.status == 400


def test_a_compressed_body_is_not_taken(inputs: Any) -> None:
    invocations = Invocations(inputs)
    assert invocations.read(b"1,a,2", b"text/csv", None, b"identity")[1] == CSV
    with pytest.raises(RequestProblem) as caught:
        invocations.read(b"1,a,2", b"text/csv", None, b"gzip")
    assert caught.value.status == 415
