"""DataProcessing. Rules: Developer Guide, "Associate Prediction Results with Input Records"."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.execution.transform.filters import BadData, DataProcessing, read_data_processing
from mlops.execution.transform.jsonpath import BadPath, NothingThere, parse_path

CSV, JSON, LINES = "text/csv", "application/json", "application/jsonlines"
ROW = ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("path", "value", "selected"),
    [
        ("$", ROW, ROW),
        ("", ROW, ROW),
        ("$[1:]", ROW, ["b", "c", "d"]),
        ("$[1:3]", ROW, ["b", "c"]),
        ("$[0:-1]", ROW, ["a", "b", "c"]),
        ("$[:2]", ROW, ["a", "b"]),
        ("$[0]", ROW, "a"),
        ("$[-1]", ROW, "d"),
        ("$[0,3]", ROW, ["a", "d"]),
        ("$[0,2:]", ROW, ["a", "c", "d"]),
        ("$[*]", ROW, ROW),
        ("$.features", {"features": [1], "id": 2}, [1]),
        ("$['id']", {"features": [1], "id": 2}, 2),
        (
            "$['id','SageMakerOutput']",
            {"id": 1, "x": 2, "SageMakerOutput": 3},
            {"id": 1, "SageMakerOutput": 3},
        ),
        ('$["id"]', {"id": 1}, 1),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
        ("$.a[1].b", {"a": [0, {"b": 7}]}, 7),
    ],
)
def test_a_path_selects(path: str, value: Any, selected: Any) -> None:
    assert parse_path(path).select(value) == selected


@pytest.mark.parametrize(
    "path", ["features", "$x", "$..a", "$[?(@.a)]", "$[", "$[a]", "$[0,'a']", "$.a[]"]
)
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(BadPath):
        parse_path(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$[4]", ROW),
        ("$[-5]", ROW),
        ("$[4:]", ROW),
        ("$.a", {"b": 1}),
        ("$.a", ROW),
        ("$[0]", {}),
        ("$.*", 1),
    ],
)
def test_an_index_outside_the_data_is_an_error(path: str, value: Any) -> None:
    with pytest.raises(NothingThere):
        parse_path(path).select(value)


@given(st.text())
def test_any_text_is_a_path_or_is_refused(text: str) -> None:
    with contextlib.suppress(BadPath):
        parse_path(text)


def read(content_type: str = CSV, accept: str = "", **request: str) -> DataProcessing:
    found = read_data_processing(dict(request), content_type, accept)
    assert found is not None
    return found


def test_filters_that_change_nothing_are_none() -> None:
    assert read_data_processing({}, "image/png", "") is None
    assert (
        read_data_processing(
            {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"}, CSV, CSV
        )
        is None
    )


def test_an_input_filter_leaves_a_column_out() -> None:
    assert read(InputFilter="$[1:]").to_model(b'7,"x, y",2') == b'"x, y",2'


def test_csv_answers_follow_the_rows_cells() -> None:
    joined = read(JoinSource="Input", InputFilter="$[1:]")
    assert joined.to_output([b"7,1", b"8,2"], b"0.1\n0.2\n") == [b"7,1,0.1", b"8,2,0.2"]
    assert read(JoinSource="Input", OutputFilter="$[0,-1]").to_output([b"7,1"], b"0.1") == [
        b"7,0.1"
    ]


@pytest.mark.parametrize("content_type", [JSON, LINES])
def test_a_json_object_gets_the_answer_as_sagemaker_output(content_type: str) -> None:
    joined = read(content_type, JoinSource="Input")
    (one,) = joined.to_output([b'{"id":1,"x":[1,2]}'], b'{"p":0.5}')
    assert json.loads(one) == {"id": 1, "x": [1, 2], "SageMakerOutput": {"p": 0.5}}
    chosen = read(content_type, JoinSource="Input", OutputFilter="$['id','SageMakerOutput']")
    (one,) = chosen.to_output([b'{"id":1,"x":[1,2]}'], b"0.5")
    assert json.loads(one) == {"id": 1, "SageMakerOutput": 0.5}


def test_other_json_goes_under_sagemaker_input() -> None:
    (one,) = read(JSON, JoinSource="Input").to_output([b"[1,2]"], b"[3]")
    assert json.loads(one) == {"SageMakerInput": [1, 2], "SageMakerOutput": [3]}


def test_an_output_filter_alone_chooses_from_the_answer() -> None:
    assert read(OutputFilter="$[0]").to_output([b"x", b"y"], b"1,2\n3,4\n") == [b"1", b"3"]


@pytest.mark.parametrize(
    ("processing", "records", "answer", "said"),
    [
        (read(JoinSource="Input"), [b"1", b"2"], b"0.1\n", "the answer to 2 records has 1"),
        (read(JoinSource="Input", OutputFilter="$[9]"), [b"1"], b"0.1", "selects nothing"),
        (read(JSON, JoinSource="Input"), [b"{}"], b"no json", "no JSON"),
        (read(JSON, JoinSource="Input"), [b"{}"], b"\xff", "no UTF-8"),
    ],
)
def test_an_answer_that_cannot_be_joined(
    processing: DataProcessing, records: list[bytes], answer: bytes, said: str
) -> None:
    with pytest.raises(BadData, match=said):
        processing.to_output(records, answer)


@pytest.mark.parametrize(
    ("content_type", "accept"), [("image/png", ""), (CSV, "image/png"), (CSV, JSON), ("", "")]
)
def test_content_types_that_cannot_be_joined(content_type: str, accept: str) -> None:
    with pytest.raises(BadData):
        read_data_processing({"JoinSource": "Input"}, content_type, accept)
