from dataclasses import replace
from pathlib import Path

import pytest

from mlops.assets import Asset
from mlops.authoring.cache import cached_definition
from mlops.errors import EnvironmentLacks
from mlops.lab import LabAssets
from mlops.settings import Settings

ASSETS = LabAssets(*(Asset("bucket", name, b"") for name in "abcde"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(store=tmp_path / "store")


def never() -> str:
    raise AssertionError("compiled again")


def test_what_is_kept_is_not_compiled_again(settings: Settings) -> None:
    assert cached_definition(settings, ASSETS, lambda: "{}") == "{}"
    assert cached_definition(settings, ASSETS, never) == "{}"


@pytest.mark.parametrize(
    "change",
    [
        {"region": "eu-west-1"},
        {"account_id": "123456789012"},
        {"role_arn": "arn:aws:iam::123456789012:role/mine"},
        {"mlops_bucket": "mine"},
        {"data_bucket": "mine"},
        {"image_tag": "2"},
    ],
)
def test_a_setting_that_counts(settings: Settings, change: dict[str, str]) -> None:
    cached_definition(settings, ASSETS, lambda: "before")
    changed = replace(settings, **change)
    assert cached_definition(changed, ASSETS, lambda: "afterwards") == "afterwards"


def test_an_asset_that_changed(settings: Settings) -> None:
    cached_definition(settings, ASSETS, lambda: "before")
    edited = replace(ASSETS, evaluate=Asset("bucket", "other", b""))
    assert cached_definition(settings, edited, lambda: "afterwards") == "afterwards"


def test_what_fails_is_not_kept(settings: Settings) -> None:
    with pytest.raises(AssertionError):
        cached_definition(settings, ASSETS, never)
    assert cached_definition(settings, ASSETS, lambda: "{}") == "{}"


def test_a_store_that_cannot_be_written(settings: Settings) -> None:
    settings.store.touch()
    with pytest.raises(EnvironmentLacks, match="cannot be written") as error:
        cached_definition(settings, ASSETS, lambda: "{}")
    assert "--store" in str(error.value.next_step)
