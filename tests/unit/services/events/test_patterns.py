"""Event patterns. Rules: EventBridge User Guide, "Comparison operators"."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.services.events.patterns import BadPattern, read_pattern

EVENT = {
    "source": "aws.sagemaker",
    "resources": ["arn:one", "arn:two"],
    "detail": {
        "status": "Failed",
        "name": "Train-1",
        "count": 3,
        "zero": 0,
        "on": True,
        "nothing": None,
        "empty": "",
        "ip": "10.0.0.7",
        "list": [{"kind": "a"}, {"kind": "b"}],
    },
}


def fits(**detail: Any) -> bool:
    return read_pattern(json.dumps({"detail": detail}))(EVENT)


@pytest.mark.parametrize(
    ("detail", "fit"),
    [
        ({"status": ["Failed"]}, True),
        ({"status": ["Stopped", "Failed"]}, True),
        ({"status": ["failed"]}, False),
        ({"status": ["Failed"], "count": [3]}, True),
        ({"status": ["Failed"], "count": [4]}, False),
        ({"count": [3.0]}, True),
        ({"count": ["3"]}, False),
        ({"on": [True]}, True),
        ({"on": [1]}, False),
        ({"zero": [False]}, False),
        ({"nothing": [None]}, True),
        ({"missing": [None]}, False),
        ({"empty": [""]}, True),
        ({"status": [{"prefix": "Fa"}]}, True),
        ({"status": [{"prefix": {"equals-ignore-case": "fA"}}]}, True),
        ({"status": [{"suffix": "led"}]}, True),
        ({"status": [{"equals-ignore-case": "FAILED"}]}, True),
        ({"status": [{"anything-but": "Succeeded"}]}, True),
        ({"status": [{"anything-but": ["Failed", "Stopped"]}]}, False),
        ({"status": [{"anything-but": {"prefix": "Su"}}]}, True),
        ({"status": [{"anything-but": {"prefix": ["Su", "Fa"]}}]}, False),
        ({"missing": [{"anything-but": "x"}]}, False),
        ({"missing": [{"exists": False}]}, True),
        ({"status": [{"exists": False}]}, False),
        ({"nothing": [{"exists": True}]}, True),
        ({"count": [{"numeric": [">", 2]}]}, True),
        ({"count": [{"numeric": [">", 0, "<=", 2]}]}, False),
        ({"count": [{"numeric": ["=", 3.0]}]}, True),
        ({"on": [{"numeric": ["=", 1]}]}, False),
        ({"name": [{"wildcard": "T*-1"}]}, True),
        ({"name": [{"wildcard": "T*-2"}]}, False),
        ({"ip": [{"cidr": "10.0.0.0/24"}]}, True),
        ({"ip": [{"cidr": "10.0.1.0/24"}]}, False),
        ({"name": [{"cidr": "10.0.1.0/24"}]}, False),
        ({"list": {"kind": ["b"]}}, True),
        ({"list": {"kind": ["c"]}}, False),
        ({"$or": [{"status": ["Stopped"]}, {"count": [3]}]}, True),
        ({"$or": [{"status": ["Stopped"]}, {"count": [4]}]}, False),
        ({"deeper": {"still": [{"exists": False}]}}, True),
    ],
)
def test_a_pattern_fits(detail: dict[str, Any], fit: bool) -> None:
    assert fits(**detail) is fit


def test_an_array_of_the_event_fits_by_one_element() -> None:
    assert read_pattern('{"resources": ["arn:two"]}')(EVENT)
    assert read_pattern('{"resources": [{"prefix": "arn:t"}], "source": ["aws.sagemaker"]}')(EVENT)
    assert not read_pattern('{"resources": ["arn:three"]}')(EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        "no json",
        "[]",
        "{}",
        '{"source": "aws.sagemaker"}',
        '{"source": []}',
        '{"detail": {}}',
        '{"source": [["a"]]}',
        '{"source": [{"juggle": "a"}]}',
        '{"source": [{"prefix": "a", "suffix": "b"}]}',
        '{"source": [{"prefix": 1}]}',
        '{"source": [{"exists": "yes"}]}',
        '{"source": [{"numeric": [">"]}]}',
        '{"source": [{"numeric": [">", "1"]}]}',
        '{"source": [{"cidr": "all"}]}',
        '{"source": [{"wildcard": "a**"}]}',
        '{"source": [{"anything-but": {"exists": true}}]}',
        '{"source": [{"anything-but": []}]}',
        '{"$or": {"source": ["a"]}}',
    ],
)
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(BadPattern, match="Event pattern is not valid"):
        read_pattern(pattern)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "b", "$or", "prefix", "anything-but", "numeric", "exists"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.dictionaries(st.sampled_from(["a", "b"]), JSON, max_size=2))
def test_any_pattern_is_refused_or_answers(pattern: Any, event: dict[str, Any]) -> None:
    with suppress(BadPattern):
        assert read_pattern(json.dumps(pattern))(event) in (True, False)
