"""A function's name in all its forms."""

from __future__ import annotations

import pytest

from mlops.errors import ServiceError
from mlops.functions.names import FunctionNames

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:answers"
names = FunctionNames("eu-west-1", "123456789012")


def test_the_arn() -> None:
    assert names.arn("answers") == ARN


@pytest.mark.parametrize(
    "given",
    [
        "answers",
        ARN,
        f"{ARN}:$LATEST",
        "answers:$LATEST",
        "123456789012:function:answers",
        "function:answers",
    ],
)
def test_the_name_in_each_form(given: str) -> None:
    assert names.read(given) == "answers"


@pytest.mark.parametrize(
    ("given", "qualifier"),
    [
        ("answers:7", None),
        ("answers", "prod"),
        (ARN.replace("123456789012", "999999999999"), None),
        (ARN.replace("eu-west-1", "us-east-1"), None),
    ],
)
def test_what_is_not_here(given: str, qualifier: str | None) -> None:
    with pytest.raises(ServiceError, match="Function not found: arn:aws:lambda") as caught:
        names.read(given, qualifier)
    assert (caught.value.code, caught.value.status) == ("ResourceNotFoundException", 404)


def test_what_is_no_name() -> None:
    with pytest.raises(ServiceError, match="no function name"):
        names.read("a b")
