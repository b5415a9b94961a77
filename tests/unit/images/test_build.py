"""Carrying a plan out, on an engine in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlops.images import ImageState, build_images, image_status
from mlops.settings import ImageMapping, Settings

HERE = ImageMapping("*/processing:*", "mlops-processing:local", "processing")
CHILD = ImageMapping("*/tensorflow:*", "mlops-tensorflow:local", "tensorflow")


@pytest.fixture
def settings() -> Settings:
    return Settings(images=(CHILD, HERE))


def build(engine: Any, settings: Settings, **keywords: Any) -> tuple[list[Any], list[str]]:
    said: list[str] = []
    return build_images(settings, engine=engine, progress=said.append, **keywords), said


@pytest.fixture
def ready(engine: Any, settings: Settings) -> Any:
    engine.put("python:3.11-slim", "base")
    build(engine, settings)
    engine.calls.clear()
    return engine


def test_all_from_nothing(engine: Any, settings: Settings) -> None:
    engine.put("python:3.11-slim", "base")
    statuses, said = build(engine, settings)
    assert engine.built() == ["mlops-processing:local", "mlops-tensorflow:local"]
    assert [status.state for status in statuses] == [ImageState.BUILT, ImageState.BUILT]
    assert said[0] == "mlops-processing:local: it is not there yet"
    assert [call[2] for call in engine.calls if call[0] == "build"] == [
        "python:3.11-slim",
        "mlops-processing:local",
    ]


def test_a_second_time_does_nothing_and_asks_nobody(ready: Any, settings: Settings) -> None:
    statuses, said = build(ready, settings)
    assert [status.state for status in statuses] == [ImageState.CURRENT, ImageState.CURRENT]
    assert ready.calls == []
    assert all("up to date" in line for line in said)


def test_status_builds_nothing(ready: Any, settings: Settings) -> None:
    ready.untag("mlops-tensorflow:local")
    statuses = image_status(settings, engine=ready)
    assert [(s.image, s.state) for s in statuses] == [
        ("mlops-processing:local", ImageState.CURRENT),
        ("mlops-tensorflow:local", ImageState.MISSING),
    ]
    assert ready.calls == []


def test_what_was_replaced_is_removed(ready: Any, settings: Settings) -> None:
    before = set(ready.images)
    old = ready.find("mlops-tensorflow:local")
    # As if it had been built from other files.
    (content,) = [tag for tag in old.tags if "content-" in tag]
    ready.untag(content)
    ready.tag(old.id, "mlops-tensorflow:content-of-before")
    build(ready, settings)
    assert set(ready.images) == before
    assert "mlops-tensorflow:content-of-before" not in ready.find("mlops-tensorflow:local").tags


def test_the_stage_that_installs_keeps_a_name(ready: Any) -> None:
    assert ready.find("mlops-tensorflow:packages") is not None


def test_a_given_base_goes_below_the_parent_only(engine: Any, settings: Settings) -> None:
    engine.put("company/python:3.11", "company")
    build(engine, settings, base_image="company/python:3.11")
    assert [call[2] for call in engine.calls if call[0] == "build"] == [
        "company/python:3.11",
        "mlops-processing:local",
    ]
    assert engine.find("mlops-tensorflow:local").layers[0] == "company"


def test_without_a_given_base_the_one_before_stands(engine: Any, settings: Settings) -> None:
    engine.put("company/python:3.11", "company")
    build(engine, settings, base_image="company/python:3.11")
    assert [s.state for s in image_status(settings, engine=engine)] == [ImageState.CURRENT] * 2


def test_a_folder_can_have_a_base_of_its_own(engine: Any, settings: Settings) -> None:
    engine.put("python:3.11-slim", "base")
    engine.put("dlc/tensorflow:2.19", "dlc")
    build(engine, settings, bases={"tensorflow": "dlc/tensorflow:2.19"})
    assert engine.find("mlops-tensorflow:local").layers[0] == "dlc"


@pytest.mark.parametrize(("way_out", "network"), [(True, None), (False, "host")])
def test_the_hosts_network_where_the_bridge_leads_nowhere(
    engine: Any, settings: Settings, way_out: bool, network: str | None
) -> None:
    engine.put("python:3.11-slim", "base")
    engine.bridge_has_a_way_out = way_out
    build(engine, settings)
    assert {call[3] for call in engine.calls if call[0] == "build"} == {network}


def test_certificates_and_pip_configuration_go_into_the_context(
    engine: Any, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_text("certificate")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")
    engine.put("python:3.11-slim", "base")
    build(engine, settings)
    context = next(call[4] for call in engine.calls if call[0] == "build")
    assert {"ca-bundle.crt", "pip.conf", "constraints.txt"} <= context
