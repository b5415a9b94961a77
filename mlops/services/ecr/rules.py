"""What ECR decides about tags, policies and layer parts. Pure.

Mutability and its exclusion filters: botocore's model of ``ecr``. Sizes: "Amazon ECR service
quotas" in the user guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlops.errors import ServiceError
from mlops.services.ecr.failures import invalid

MIB = 1 << 20
MOST_LAYER_BYTES = 52_000 * MIB
MOST_PART_BYTES = 10 * MIB
FEWEST_PART_BYTES = 5 * MIB
MOST_PARTS = 4_200
MOST_MANIFEST_BYTES = 4_194_304  # the model's ImageManifest
MOST_TAGS_OF_A_RESOURCE = 50

MUTABLE = "MUTABLE"


def is_immutable(tag: str, setting: str, filters: Sequence[Mapping[str, str]]) -> bool:
    """Whether an image tag that exists may not be given to another image."""
    excluded = any(matches_wildcard(tag, each["filter"]) for each in filters)
    return setting.startswith("IMMUTABLE") != (excluded and setting.endswith("_WITH_EXCLUSION"))


def matches_wildcard(tag: str, wildcard: str) -> bool:
    """Whether a tag is what a text with ``*`` for anything stands for."""
    pattern = ".*".join(re.escape(part) for part in wildcard.split("*"))
    return re.fullmatch(pattern, tag) is not None


def check_mutability(setting: str, filters: Sequence[Mapping[str, str]]) -> None:
    """Refuse exclusion filters of a setting that has none, and the other way round.

    Raises:
        ServiceError: ``InvalidParameterException``.
    """
    if setting.endswith("_WITH_EXCLUSION") != bool(filters):
        raise invalid(
            "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy "
            "constraint: 'filters go with IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION, "
            "which need at least one'"
        )


def check_policy(text: str) -> None:
    """Refuse what is no policy document.

    Raises:
        ServiceError: ``InvalidParameterException``.
    """
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not document.get("Statement"):
        raise invalid(
            "Invalid parameter at 'PolicyText' failed to satisfy constraint: "
            "'Invalid repository policy provided'"
        )


def check_tags(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The values of resource tags by their keys.

    Raises:
        ServiceError: ``InvalidTagParameterException``: a key twice or too long, or such a value.
    """
    given = {tag["Key"]: tag["Value"] for tag in tags}
    if len(given) < len(tags):
        raise _invalid_tag("Duplicate tag keys found in the list of tags")
    for key, value in given.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            raise _invalid_tag(
                f"Invalid tag {key[:140]!r}: keys have 1 to 128 characters and do not begin with "
                "aws:, values have up to 256"
            )
    return given


def _invalid_tag(message: str) -> ServiceError:
    return ServiceError("InvalidTagParameterException", message)
