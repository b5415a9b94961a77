"""Parameters travel as strings and are bound by their declared type."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.definition import bind_parameters
from mlops.errors import ParameterError


@pytest.fixture
def bind(make: Any, parse: Any) -> Any:
    def bind(declared: dict[str, Any], given: dict[str, str]) -> Any:
        parameters = [make.parameter("P", **declared), make.parameter("Other", DefaultValue="o")]
        return bind_parameters(
            parse(make.pipeline(make.training("T"), parameters=parameters)), given
        )

    return bind


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("String", "x", "x"),
        ("String", "1", "1"),
        ("String", " ", " "),
        ("Integer", "3", 3),
        ("Integer", "-3", -3),
        ("Integer", "+3", 3),
        ("Float", "3", 3.0),
        ("Float", "0.5", 0.5),
        ("Float", ".5", 0.5),
        ("Float", "5.", 5.0),
        ("Float", "-1e-6", -1e-6),
        ("Boolean", "true", True),
        ("Boolean", "True", True),
        ("Boolean", "False", False),
        ("Boolean", "FALSE", False),
    ],
)
def test_given(bind: Any, kind: str, text: str, value: Any) -> None:
    bound = bind({"kind": kind}, {"P": text})
    assert bound == {"P": value, "Other": "o"}
    assert type(bound["P"]) is type(value)


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        ("String", "", ""),
        ("Integer", 0, 0),
        ("Float", 6, 6.0),
        ("Boolean", False, False),
        ("Float", 10**400, 10**400),
    ],
)
def test_default(bind: Any, kind: str, default: Any, value: Any) -> None:
    bound = bind({"kind": kind, "DefaultValue": default}, {})
    assert bound["P"] == value
    assert type(bound["P"]) is type(value)


@pytest.mark.parametrize(
    ("declared", "given", "what"),
    [
        ({}, {}, "The parameter P has no default; give it a value of type String"),
        ({}, {"P": ""}, "The parameter P is empty; leave it out for its default, or give a value"),
        ({"DefaultValue": "x"}, {"Q": "1"}, "There is no parameter 'Q'; there are: Other, P"),
        (
            {"DefaultValue": "x"},
            {"Othr": "1"},
            "There is no parameter 'Othr'; did you mean 'Other'?",
        ),
        *(
            (
                {"kind": "Integer"},
                {"P": text},
                f"The parameter P is {text!r}, which is no Integer; ",
            )
            for text in ("x", "1.0", "1e3", "1_000", " 1", "٣", "true", "9" * 400)
        ),
        *(
            ({"kind": "Float"}, {"P": text}, f"The parameter P is {text!r}, which is no Float; ")
            for text in ("x", "nan", "inf", "-inf", "1e999", "1_0.0", "1,5", "0x1", "1 ", ".")
        ),
        *(
            ({"kind": "Boolean"}, {"P": text}, f"The parameter P is {text!r}, which is no Boolean")
            for text in ("yes", "1", "0", "t")
        ),
        (
            {"EnumValues": ["Approved", "Rejected"]},
            {"P": "approved"},
            "The parameter P is 'approved', which is none of the allowed values: Approved",
        ),
    ],
)
def test_refused(bind: Any, declared: Any, given: Any, what: str) -> None:
    with pytest.raises(ParameterError) as caught:
        bind(declared, given)
    assert caught.value.what.startswith(what)
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_all_that_are_wrong_are_named_at_once(bind: Any) -> None:
    with pytest.raises(ParameterError) as caught:
        bind({"kind": "Integer"}, {"P": "x", "Q": "1"})
    assert caught.value.what.splitlines() == [
        "Several parameters are wrong:",
        "  - There is no parameter 'Q'; there are: Other, P",
        "  - The parameter P is 'x', which is no Integer; give a whole number such as 3",
    ]
