"""Lifecycle policies: which images a policy lets go. Pure.

Members and rules: "Lifecycle policy properties" and "Lifecycle policy evaluation rules" in the
user guide. Of the actions ``expire`` is here, of the counts ``imageCountMoreThan`` and
``sinceImagePushed``; a policy with another one is refused, since it would not be carried out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlops.errors import ServiceError
from mlops.services.ecr.failures import invalid
from mlops.services.ecr.images import Image
from mlops.services.ecr.rules import matches_wildcard

_MOST_WILDCARDS = 4


@dataclass(frozen=True, slots=True)
class Rule:
    priority: int
    tag_status: str
    patterns: Sequence[str]
    """Wildcards, each of which some tag of an image has to match."""
    count_type: str
    count: int

    def selects(self, image: Image) -> bool:
        """Whether the rule is about this image, however old it is."""
        if self.tag_status == "untagged":
            return not image.tags
        if self.tag_status == "any":
            return True
        return bool(image.tags) and all(
            any(matches_wildcard(tag, pattern) for tag in image.tags) for pattern in self.patterns
        )

    def marks(self, images: Sequence[Image], now: datetime) -> set[str]:
        """The digests of those to let go among the images that it selects."""
        selected = [image for image in images if self.selects(image)]
        if self.count_type == "imageCountMoreThan":
            selected.sort(key=lambda image: image.pushed_at, reverse=True)
            return {image.digest for image in selected[self.count :]}
        limit = now - timedelta(days=self.count)
        return {image.digest for image in selected if image.pushed_at < limit}


def expired(rules: Sequence[Rule], images: Sequence[Image], now: datetime) -> Sequence[Image]:
    """The images that a policy lets go, the oldest first.

    A rule looks at all images as if none had gone; an image is the affair of the first rule that
    selects it. What a manifest list refers to stays as long as the list does.
    """
    gone: set[str] = set()
    taken: set[str] = set()
    for rule in sorted(rules, key=lambda each: each.priority):
        gone |= rule.marks(images, now) - taken
        taken |= {image.digest for image in images if rule.selects(image)}
    listed = {digest for image in images for digest in image.document["manifests"]}
    left = [image for image in images if image.digest in gone - listed]
    return sorted(left, key=lambda image: image.pushed_at)


def parse_policy(text: str) -> Sequence[Rule]:
    """The rules of a policy.

    Raises:
        ServiceError: ``InvalidParameterException``: it is no policy, or not one for here.
    """
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken("it is no JSON") from error
    found = document.get("rules") if isinstance(document, dict) else None
    if not isinstance(found, list) or not found:
        raise _broken("it has no rules")
    rules = [_rule(each) for each in found]
    if len({rule.priority for rule in rules}) < len(rules):
        raise _broken("two rules have the same rulePriority")
    for status in ("untagged", "any"):
        if sum(rule.tag_status == status for rule in rules) > 1:
            raise _broken(f"more than one rule has the tagStatus {status}")
    last = max(rules, key=lambda rule: rule.priority)
    if any(rule.tag_status == "any" and rule is not last for rule in rules):
        raise _broken("the rule with the tagStatus any has to have the highest rulePriority")
    return rules


def _rule(value: Any) -> Rule:
    if not isinstance(value, dict) or not isinstance(value.get("selection"), dict):
        raise _broken("a rule has no selection")
    selection = value["selection"]
    if value.get("action") != {"type": "expire"}:
        raise _broken('the local gateway carries out the action {"type": "expire"} alone')
    status = selection.get("tagStatus")
    if status not in ("tagged", "untagged", "any"):
        raise _broken(f"tagStatus is {str(status)[:50]!r}")
    count_type, unit = selection.get("countType"), selection.get("countUnit")
    if count_type not in ("imageCountMoreThan", "sinceImagePushed"):
        raise _broken(
            f"countType is {str(count_type)[:50]!r}; carried out here are imageCountMoreThan and "
            "sinceImagePushed"
        )
    if unit != (None if count_type == "imageCountMoreThan" else "days"):
        raise _broken(f"countUnit is {str(unit)[:50]!r} with {count_type}")
    return Rule(
        priority=_positive(value.get("rulePriority"), "rulePriority"),
        tag_status=status,
        patterns=_patterns(selection, status),
        count_type=count_type,
        count=_positive(selection.get("countNumber"), "countNumber"),
    )


def _patterns(selection: Mapping[str, Any], status: str) -> Sequence[str]:
    patterns, prefixes = selection.get("tagPatternList"), selection.get("tagPrefixList")
    if status != "tagged":
        if patterns or prefixes:
            raise _broken(f"tagStatus {status} goes without tagPatternList and tagPrefixList")
        return ()
    given = patterns or prefixes
    if not given or (patterns and prefixes):
        raise _broken("tagStatus tagged needs one of tagPatternList and tagPrefixList")
    if not isinstance(given, list) or not all(isinstance(each, str) and each for each in given):
        raise _broken("a list of tags has something else than texts")
    if patterns is None:
        return [f"{prefix}*" for prefix in given]
    if any(pattern.count("*") > _MOST_WILDCARDS for pattern in given):
        raise _broken(f"a tag pattern has more than {_MOST_WILDCARDS} wildcards")
    return given


def _positive(value: Any, name: str) -> int:
    if type(value) is not int or not 1 <= value < 1_000_000:
        raise _broken(f"{name} is {str(value)[:50]!r}")
    return value


def _broken(why: str) -> ServiceError:
    return invalid(
        "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: "
        f"'Lifecycle policy validation failure: {why}'"
    )
