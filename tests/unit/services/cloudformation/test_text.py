"""Templates as text: YAML with its short forms, JSON, and what is neither."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlops.services.cloudformation.text import DEEPEST, BadText, read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!Ref A", {"Ref": "A"}),
        ("!GetAtt A.B.C", {"Fn::GetAtt": ["A", "B.C"]}),
        ("!GetAtt [A, B]", {"Fn::GetAtt": ["A", "B"]}),
        ("!Sub 'x-${A}'", {"Fn::Sub": "x-${A}"}),
        ("!Sub [x, {A: !Ref B}]", {"Fn::Sub": ["x", {"A": {"Ref": "B"}}]}),
        ("!If [C, !Ref A, !Ref 'AWS::NoValue']",
         {"Fn::If": ["C", {"Ref": "A"}, {"Ref": "AWS::NoValue"}]}),
        ("!Join [',', [a, b]]", {"Fn::Join": [",", ["a", "b"]]}),
        ("!Condition C", {"Condition": "C"}),
        ("!Select [0, !Split [',', 'a,b']]", {"Fn::Select": [0, {"Fn::Split": [",", "a,b"]}]}),
        ("!Base64 5", {"Fn::Base64": "5"}),
    ],
)  # fmt: skip
def test_short_forms(text: str, value: Any) -> None:
    assert read_text(f"a: {text}") == {"a": value}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2010-09-09", "2010-09-09"),
        ("'5'", "5"),
        ("5", 5),
        ("0.5", 0.5),
        ("true", True),
        ("no", False),
        ("012345678901", "012345678901"),
        ("~", None),
        (".inf", ".inf"),
        ("!!str 5", "5"),
        ('!!int "5"', 5),
        ("!!map {}", {}),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("[]", []),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    assert read_text(f"a: {text}") == {"a": value}


def test_keys_are_text() -> None:
    assert read_text("1: a\nyes: b") == {"1": "a", "yes": "b"}


def test_json_says_the_same_as_yaml() -> None:
    document = {
        "Resources": {"A": {"Type": "T", "Properties": {"x": [1, 2.5, None, {"Ref": "B"}]}}}
    }
    assert read_text(json.dumps(document)) == document


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [1]\nb: *x", "aliases are not allowed"),
        ("a: 1\na: 2", "the key a stands twice (line 2, column 1)"),
        ("a: !Foo x", "the tag !Foo is no function"),
        ("a: [", "YAML not well-formed"),
        ("a: 1\n---\nb: 2", "2 YAML documents"),
        ("", "0 YAML documents"),
        ("{", "JSON not well-formed"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!binary x", "binary"),
        ("[a]: b", "a key that is no text"),
        ("a: !!python/object/apply:os.system [ls]", "python/object"),
        ("{" + '"a":[' * 200 + "1" + "]}" * 200, ""),
        ("a: " + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), f"deeper than {DEEPEST}"),
        ('{"a": ' + "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1) + "}", f"deeper than {DEEPEST}"),
        ("a: " + "[" * 100_000, ""),
    ],
)
def test_what_is_no_template(text: str, told: str) -> None:
    with pytest.raises(BadText) as caught:
        read_text(text)
    assert told in str(caught.value)


def test_a_bomb_of_aliases_does_not_go_off() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    with pytest.raises(BadText, match="aliases"):
        read_text("\n".join(lines))
