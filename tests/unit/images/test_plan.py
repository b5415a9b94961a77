"""Which images are built, in which order, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from mlops.errors import ImageUnavailable
from mlops.images.plan import FoundImage, ImageState, plan_images
from mlops.images.sources import ImageSource, read_source

Sources = tuple[ImageSource, ...]


def built(source: ImageSource, *layers: str) -> FoundImage:
    return FoundImage("id", frozenset({source.image, source.content_tag}), layers)


@pytest.fixture
def current(sources: Sources) -> dict[str, FoundImage]:
    trainer, tools = sources
    return {
        tools.image: built(tools, "base", "tools"),
        trainer.image: built(trainer, "base", "tools", "trainer"),
    }


def reasons(sources: Sources, found: Mapping[str, FoundImage], **keywords: object) -> list[str]:
    return [plan.reason for plan in plan_images(sources, found, **keywords)]  # type: ignore[arg-type]


def test_nothing_is_done_about_what_is_current(sources: Sources, current: dict) -> None:
    plans = plan_images(sources, current)
    assert [(plan.source.folder, plan.state, plan.to_build) for plan in plans] == [
        ("tools", ImageState.CURRENT, False),
        ("trainer", ImageState.CURRENT, False),
    ]


def test_missing_images_are_built_parents_first(sources: Sources) -> None:
    plans = plan_images(sources, {})
    assert [(plan.source.folder, plan.parent) for plan in plans] == [
        ("tools", None),
        ("trainer", "tools:local"),
    ]
    assert {plan.state for plan in plans} == {ImageState.MISSING}


def test_a_changed_parent_takes_its_child_along(sources: Sources, current: dict) -> None:
    current["tools:local"] = FoundImage("id", frozenset({"tools:local"}), ("base", "tools"))
    assert reasons(sources, current) == ["its files changed", "tools:local is built anew"]


def test_a_changed_child_leaves_its_parent(sources: Sources, current: dict) -> None:
    old = current["trainer:local"]
    current["trainer:local"] = FoundImage("id", frozenset({"trainer:local"}), old.layers)
    assert reasons(sources, current) == ["", "its files changed"]


def test_a_parent_built_elsewhere_is_noticed(sources: Sources, current: dict) -> None:
    current["tools:local"] = built(sources[1], "base", "other tools")
    assert reasons(sources, current) == ["", "it stands on another base than tools:local"]


def test_a_given_base_has_to_be_below(sources: Sources, current: dict) -> None:
    given = {"tools": "given"}
    current["given"] = FoundImage("g", frozenset({"given"}), ("base",))
    assert reasons(sources, current, bases=given) == ["", ""]
    current["given"] = FoundImage("g", frozenset({"given"}), ("other base",))
    assert reasons(sources, current, bases=given) == [
        "it stands on another base than given",
        "tools:local is built anew",
    ]


def test_a_given_base_of_a_child_frees_it_from_its_parent(sources: Sources) -> None:
    plans = plan_images(sources, {}, bases={"trainer": "a Deep Learning Container"})
    by_folder = {plan.source.folder: plan for plan in plans}
    assert by_folder["trainer"].parent is None
    assert by_folder["trainer"].given_base == "a Deep Learning Container"


def test_force_builds_what_is_current(sources: Sources, current: dict) -> None:
    assert reasons(sources, current, force=True) == ["asked for", "tools:local is built anew"]


def test_a_circle_is_told(project: Path) -> None:
    (project / "containers/tools/Dockerfile").write_text("ARG BASE_IMAGE=trainer:local\n")
    circle = [read_source(name, f"{name}:local", project) for name in ("tools", "trainer")]
    with pytest.raises(ImageUnavailable, match="in a circle"):
        plan_images(circle, {})
