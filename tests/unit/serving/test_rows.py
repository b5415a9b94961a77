"""Bodies to columns: what is taken, and what a message says about what is not."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving.problems import RequestProblem
from serving.rows import Inputs, parse_csv, parse_json

from .conftest import PREPROCESSING

NAMES = ["carat", "cut", "depth %"]
numbers = st.floats(allow_nan=False) | st.floats(width=32, allow_nan=False) | st.integers()
words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).map(str.strip)
rows = st.lists(st.tuples(numbers.map(float), words, numbers.map(float)), min_size=1, max_size=6)


def refused(parse: Any, body: bytes, inputs: Any) -> str:
    with pytest.raises(RequestProblem) as caught:
        parse(body, inputs)
    assert caught.value.status == 400
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


# --- what is taken ----------------------------------------------------------------------------


def test_rows_in_the_inputs_order_need_no_header(inputs: Any) -> None:
    assert parse_csv(b"0.5,Ideal,61\n0.7, Good ,62.5\n", inputs) == [
        [0.5, 0.7],
        ["Ideal", "Good"],
        [61.0, 62.5],
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_header_gives_the_order_and_may_name_more(inputs: Any, end: str) -> None:
    lines = ["price,cut, depth % ,carat", "1,Ideal,61,0.5", "2,Good,,0.7"]
    carat, cut, depth = parse_csv(end.join(lines).encode(), inputs)
    assert (carat, cut) == ([0.5, 0.7], ["Ideal", "Good"])
    assert depth[0] == 61
    assert math.isnan(depth[1])


def test_a_spreadsheets_byte_order_mark_and_quotes_are_fine(inputs: Any) -> None:
    body = '\ufeff"carat","cut","depth %"\n"0.5","Very, ""very"" good","61"\n\n'.encode()
    assert parse_csv(body, inputs) == [[0.5], ['Very, "very" good'], [61.0]]


@pytest.mark.parametrize("missing", ["", "NA", " n/a", "nan", "NULL", "None "])
def test_missing_numbers_are_no_errors(inputs: Any, missing: str) -> None:
    assert math.isnan(parse_csv(f"{missing},Ideal,61".encode(), inputs)[0][0])
    assert math.isnan(parse_json(json.dumps([[missing, "a", 1]]).encode(), inputs)[0][0])
    assert math.isnan(parse_json(b'{"carat": null, "cut": null, "depth %": 1}', inputs)[0][0])


@pytest.mark.parametrize(
    "document",
    [
        {"carat": 0.5, "cut": "Ideal", "depth %": 61},
        [{"depth %": 61.0, "carat": 0.5, "cut": " Ideal ", "price": 3}],
        [0.5, "Ideal", 61],
        [["0.5", "Ideal", "61"]],
        {"instances": [[0.5, "Ideal", 61]]},
        {"instances": [{"carat": 0.5, "cut": "Ideal", "depth %": 61}]},
        {"instances": {"carat": 0.5, "cut": "Ideal", "depth %": 61}},
    ],
)
def test_json_has_the_forms_that_clients_send(inputs: Any, document: Any) -> None:
    assert parse_json(json.dumps(document).encode(), inputs) == [[0.5], ["Ideal"], [61.0]]


def test_a_model_of_one_column_takes_a_list_of_values() -> None:
    one = Inputs({"inputs": [{"column": "x", "name": "x", "type": "number"}]})
    assert parse_json(b"[1, 2, 3]", one) == [[1.0, 2.0, 3.0]]
    assert parse_csv(b"x\n1\n2\n", one) == parse_csv(b"1\n2\n", one) == [[1.0, 2.0]]


def test_a_model_of_words_alone_takes_words_that_are_names() -> None:
    described = [{"column": name, "name": name, "type": "text"} for name in ("a", "b")]
    assert parse_csv(b"a,c\n", Inputs({"inputs": described})) == [["a"], ["c"]]


# --- what is not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"", ["no rows"]),
        (b"\n\n", ["no rows"]),
        (b"carat,cut,depth %\n", ["a header and no rows"]),
        (b"0.5,Ideal,61\n1,2\n", ["row 2 has 2 values", "3 columns, carat, cut, depth %"]),
        (b"price,carat,cut,depth %\n1,2,a,3\n1,2,a\n", ["row 2 has 3 values", "has 4 columns"]),
        (b"0.5,Ideal,61\n0.5,Ideal,6l\n", ["row 2", "'depth %'", "'6l'", "not a number"]),
        (b"carat,cut\n0.5,Ideal\n", ["the header has no column 'depth %'", "carat, cut"]),
        (b"carat,cut,depth %,cut\n1,a,2,b\n", ["names the column 'cut' twice"]),
        (b"\xff,a,1", ["not UTF-8"]),
        (b'1,"a"b,2\n', ["not CSV"]),
        (b'1,"a,2\n', ["not CSV"]),
        (b"1," + b"a" * 200_000 + b",2", ["not CSV", "field"]),
        (b"x" * 5_000 + b",a,1", ["row 1", "'carat'", "…"]),
        ("٪,a,1".encode(), ["row 1", "'carat'"]),
    ],
)
def test_a_wrong_csv_body_is_told_where(inputs: Any, body: bytes, parts: list[str]) -> None:
    text = refused(parse_csv, body, inputs)
    assert [part for part in parts if part not in text] == [], text
    assert len(text) < 300


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (b"", ["not JSON"]),
        (b"[[1,", ["not JSON"]),
        (b"\xff\xfe\x00", ["UTF-8"]),
        (b"[" * 100_000, ["nested too deeply"]),
        (b"[[" + b"9" * 5_000 + b', "a", 1]]', ["not JSON"]),
        (b"[[" + b"9" * 400 + b', "a", 1]]', ["row 1", "'carat'", "too large"]),
        (b"null", ["null", "expected"]),
        (b'"text"', ["the text 'text'"]),
        (b"[]", ["no rows"]),
        (b'{"instances": []}', ["no rows"]),
        (b'{"instances": 3}', ["the number 3"]),
        (b'{"carat": 1, "cut": "a"}', ["row 1 has no column 'depth %'"]),
        (b'[[1, "a", 2], [1, "a"]]', ["row 2 has 2 values"]),
        (b'[[1, "a", 2], 3]', ["row 2 is the number 3"]),
        (b'[[1, "a", 2], ["x", "a", 2]]', ["row 2", "'carat'", "'x'", "not a number"]),
        (b'[[true, "a", 2]]', ["'carat'", "true", "a number or null"]),
        (b'[[[], "a", 2]]', ["'carat'", "a list"]),
        (b"[[1, 5, 2]]", ["'cut'", "the number 5", "a text or null"]),
        (b'[[1, "\\ud800", 2]]', ["'cut'", "not Unicode"]),
        (b'[["\\ud800", "a", 2]]', ["'carat'", "not a number"]),
    ],
)
def test_a_wrong_json_body_is_told_where(inputs: Any, body: bytes, parts: list[str]) -> None:
    text = refused(parse_json, body, inputs)
    assert [part for part in parts if part not in text] == [], text
    assert len(text) < 300
    assert text.encode()  # whatever came in, the message can be sent


# --- any body ---------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(
    body=st.binary(max_size=200) | st.text(max_size=80).map(lambda t: t.encode("utf-8", "replace"))
)
def test_any_bytes_give_columns_or_a_reason(body: bytes) -> None:
    for parse in (parse_csv, parse_json):
        check(parse, body)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*NAMES, "instances", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(document=json_values)
def test_any_json_gives_columns_or_a_reason(document: Any) -> None:
    check(parse_json, json.dumps(document).encode())


def check(parse: Any, body: bytes) -> None:
    result = outcome(parse, body)
    if isinstance(result, RequestProblem):
        assert result.status == 400
        assert str(result).encode("utf-8")
    else:
        assert len({len(column) for column in result}) == 1
        assert [type(column[0]) for column in result] == [float, str, float]


def outcome(parse: Any, body: bytes) -> Any:
    try:
        return parse(body, Inputs(PREPROCESSING))
    except RequestProblem as problem:
        return problem


@settings(deadline=None)
@given(rows=rows, order=st.permutations(range(3)), header=st.booleans())
def test_all_forms_of_the_same_rows_give_the_same_columns(
    rows: list[Any], order: list[int], header: bool
) -> None:
    inputs = Inputs(PREPROCESSING)
    expected = [list(column) for column in zip(*rows, strict=True)]
    lists = json.dumps(rows).encode()
    objects = json.dumps({"instances": [dict(zip(NAMES, row, strict=True)) for row in rows]})
    written = io.StringIO(newline="")
    writer = csv.writer(written)
    if header:
        writer.writerow([NAMES[position] for position in order])
        writer.writerows([row[position] for position in order] for row in rows)
    else:
        writer.writerows(rows)
    assert parse_json(lists, inputs) == expected
    assert parse_json(objects.encode(), inputs) == expected
    assert parse_csv(written.getvalue().encode(), inputs) == expected
