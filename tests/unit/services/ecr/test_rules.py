"""Tags that may not move, and the passwords that open a registry."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mlops.errors import ServiceError
from mlops.services.ecr.credentials import Credentials
from mlops.services.ecr.rules import check_mutability, check_policy, check_tags, is_immutable


@pytest.mark.parametrize(
    ("tag", "setting", "filters", "expected"),
    [
        ("v1", "MUTABLE", [], False),
        ("v1", "IMMUTABLE", [], True),
        ("v1", "IMMUTABLE_WITH_EXCLUSION", ["dev-*"], True),
        ("dev-1", "IMMUTABLE_WITH_EXCLUSION", ["x", "dev-*"], False),
        ("v1", "MUTABLE_WITH_EXCLUSION", ["v*"], True),
        ("latest", "MUTABLE_WITH_EXCLUSION", ["v*"], False),
        ("a.b", "IMMUTABLE_WITH_EXCLUSION", ["a.b"], False),
        ("axb", "IMMUTABLE_WITH_EXCLUSION", ["a.b"], True),
    ],
)
def test_immutable(tag: str, setting: str, filters: list[str], expected: bool) -> None:
    given = [{"filterType": "WILDCARD", "filter": each} for each in filters]
    assert is_immutable(tag, setting, given) is expected


def test_filters_go_with_their_settings() -> None:
    for setting, filters in (("MUTABLE", [{"filter": "x"}]), ("IMMUTABLE_WITH_EXCLUSION", [])):
        with pytest.raises(ServiceError, match="ExclusionFilters"):
            check_mutability(setting, filters)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "[" * 10_000])
def test_no_policy(text: str) -> None:
    with pytest.raises(ServiceError, match="Invalid repository policy"):
        check_policy(text)


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "a", "Value": ""}, {"Key": "a", "Value": ""}],
        [{"Key": "", "Value": "x"}],
        [{"Key": "aws:x", "Value": "x"}],
        [{"Key": "k", "Value": "v" * 257}],
    ],
)
def test_no_tags(tags: list[dict[str, str]]) -> None:
    with pytest.raises(ServiceError):
        check_tags(tags)


class SetClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_password_holds_twelve_hours_and_longer_than_its_gateway(tmp_path: Path) -> None:
    clock, key = SetClock(), tmp_path / "registry/key"
    password, expires = Credentials(key, clock).password()
    assert expires - clock.at == timedelta(hours=12)
    assert (key.stat().st_mode & 0o777) == 0o600
    later = Credentials(key, clock)
    assert later.accepts(basic("AWS", password))
    clock.at = expires
    assert not later.accepts(basic("AWS", password))


def test_what_is_no_password(tmp_path: Path) -> None:
    clock = SetClock()
    credentials = Credentials(tmp_path / "key", clock)
    password, _ = credentials.password()
    until, _, signature = password.partition(".")
    layer = credentials.layer_key("team/app", "sha256:a")
    for header in (
        "",
        "Bearer x",
        "Basic %%%",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        basic("root", password),
        basic("AWS", ""),
        basic("AWS", f"{int(until) + 1}.{signature}"),
        basic("AWS", f"{'9' * 13}.{signature}"),
        basic("AWS", f"{until}.größer"),
        basic("AWS", layer),
        basic("AWS", Credentials(tmp_path / "other", clock).password()[0]),
    ):
        assert not credentials.accepts(header), header
    assert credentials.opens_layer(layer, "team/app", "sha256:a")
    assert not credentials.opens_layer(layer, "team/app", "sha256:b")
    assert not credentials.opens_layer(password, "team/app", "sha256:a")
