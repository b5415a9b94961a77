"""Which images a lifecycle policy lets go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlops.errors import ServiceError
from mlops.services.ecr.images import Image
from mlops.services.ecr.lifecycle import expired, parse_policy

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def image(name: str, days_old: float, *tags: str, manifests: Sequence[str] = ()) -> Image:
    document = {"manifests": list(manifests)}
    return Image("app", name, tags, NOW - timedelta(days=days_old), document)


def rule(priority: int, count: int, status: str = "any", **selection: Any) -> dict[str, Any]:
    days = selection.pop("days", False)
    chosen = {"tagStatus": status, "countNumber": count, "countType": "imageCountMoreThan"}
    if days:
        chosen |= {"countType": "sinceImagePushed", "countUnit": "days"}
    return {
        "rulePriority": priority,
        "selection": chosen | selection,
        "action": {"type": "expire"},
    }


def gone(images: Sequence[Image], *rules: dict[str, Any]) -> list[str]:
    found = parse_policy(json.dumps({"rules": list(rules)}))
    return [each.digest for each in expired(found, images, NOW)]


IMAGES = (
    image("old-dev", 30, "dev-1"),
    image("dev", 5, "dev-2", "latest"),
    image("prod", 40, "prod-1"),
    image("old", 20),
    image("new", 1),
)


def test_the_youngest_stay() -> None:
    assert gone(IMAGES, rule(1, 2)) == ["prod", "old-dev", "old"]
    assert gone(IMAGES, rule(1, 1, "untagged")) == ["old"]
    assert gone(IMAGES, rule(1, 5)) == []


def test_the_old_go() -> None:
    assert gone(IMAGES, rule(1, 14, days=True)) == ["prod", "old-dev", "old"]
    assert gone(IMAGES, rule(1, 14, "untagged", days=True)) == ["old"]


def test_every_pattern_has_to_match() -> None:
    assert gone(IMAGES, rule(1, 1, "tagged", tagPrefixList=["dev-"])) == ["old-dev"]
    assert gone(IMAGES, rule(1, 1, "tagged", days=True, tagPatternList=["dev*", "l*t"])) == ["dev"]
    assert gone(IMAGES, rule(1, 1, "tagged", days=True, tagPatternList=["dev"])) == []


def test_an_image_is_the_affair_of_the_first_rule_that_selects_it() -> None:
    keep_prod = rule(1, 365, "tagged", days=True, tagPrefixList=["prod"])
    assert gone(IMAGES, rule(2, 14, days=True), keep_prod) == ["old-dev", "old"]
    # The second rule counts those, too, that the first one takes care of.
    assert gone(IMAGES, keep_prod, rule(2, 4)) == []


def test_what_a_list_has_stays() -> None:
    images = [image("child", 30), image("list", 1, "v1", manifests=["child"])]
    assert gone(images, rule(1, 7, "untagged", days=True)) == []


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("{", "no JSON"),
        ("[]", "no rules"),
        ({"rules": []}, "no rules"),
        ({"rules": [1]}, "no selection"),
        ({"rules": [rule(1, 1), rule(1, 1, "untagged")]}, "same rulePriority"),
        ({"rules": [rule(1, 1), rule(2, 1)]}, "more than one rule"),
        ({"rules": [rule(1, 1), rule(2, 1, "untagged")]}, "highest rulePriority"),
        ({"rules": [rule(0, 1)]}, "rulePriority is"),
        ({"rules": [rule(1, True)]}, "countNumber is"),
        ({"rules": [rule(1, 1, "tagged")]}, "needs one of"),
        ({"rules": [rule(1, 1, "tagged", tagPrefixList=["a"], tagPatternList=["b"])]}, "one of"),
        ({"rules": [rule(1, 1, "tagged", tagPrefixList="dev")]}, "a list of tags"),
        ({"rules": [rule(1, 1, "tagged", tagPatternList=["*****"])]}, "wildcards"),
        ({"rules": [rule(1, 1, "untagged", tagPrefixList=["a"])]}, "goes without"),
        ({"rules": [rule(1, 1, "other")]}, "tagStatus is"),
        ({"rules": [rule(1, 1, countType="sinceImagePulled")]}, "carried out here"),
        ({"rules": [rule(1, 1, countUnit="days")]}, "countUnit"),
        ({"rules": [rule(1, 1) | {"action": {"type": "transition"}}]}, "alone"),
    ],
)
def test_policies_that_are_none(policy: object, why: str) -> None:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    with pytest.raises(ServiceError, match=why) as refused:
        parse_policy(text)
    assert refused.value.code == "InvalidParameterException"
