"""Which images have to be built, in which order, and why: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlops.errors import ImageUnavailable
from mlops.images.sources import ImageSource


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image that the engine has. ``layers`` are its RootFS's, from the base upwards."""

    id: str
    tags: frozenset[str]
    layers: tuple[str, ...]
    size: int = 0
    """Bytes, shared layers included."""

    def stands_on(self, base: FoundImage) -> bool:
        return self.layers[: len(base.layers)] == base.layers


class ImageState(StrEnum):
    CURRENT = "current"
    MISSING = "missing"
    OUTDATED = "outdated"
    BUILT = "built"


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """An image of the settings' table as it is in the engine, or as a build has left it."""

    image: str
    folder: str
    state: ImageState
    reason: str = ""
    """Why it is not current, or was built."""
    size: int = 0
    """Bytes, shared layers included; 0 where it is missing."""
    seconds: float = 0.0
    """What its build took."""


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What is to be done about an image; an empty ``reason``: nothing.

    ``parent`` is the image of the table that this one stands on; one without stands on the base
    that `mlops.images.base` chooses, or on ``given_base``.
    """

    source: ImageSource
    state: ImageState
    reason: str
    parent: str | None
    given_base: str | None

    @property
    def to_build(self) -> bool:
        return bool(self.reason)


def plan_images(
    sources: Sequence[ImageSource],
    found: Mapping[str, FoundImage],
    *,
    bases: Mapping[str, str] | None = None,
    force: bool = False,
) -> tuple[ImagePlan, ...]:
    """Decide about each image, parents first.

    `found` is what the engine has under the names of the images and the given bases. `bases` are
    given base images by folder, instead of the Dockerfiles' own.
    """
    plans: dict[str, ImagePlan] = {}
    for source in in_build_order(sources, bases or {}):
        given = (bases or {}).get(source.folder)
        parent = plans.get(source.base) if given is None else None
        state, reason = judge(source, found, parent=parent, given=given, force=force)
        plans[source.image] = ImagePlan(
            source, state, reason, parent.source.image if parent else None, given
        )
    return tuple(plans.values())


def in_build_order(
    sources: Sequence[ImageSource], bases: Mapping[str, str]
) -> tuple[ImageSource, ...]:
    """Parents before children, else in the given order."""
    ordered: dict[str, ImageSource] = {}
    waiting = list(sources)
    while waiting:
        names = {source.image for source in waiting}
        ready = [s for s in waiting if s.folder in bases or s.base not in names]
        if not ready:
            raise ImageUnavailable(
                f"The images {', '.join(sorted(names))} stand on one another in a circle",
                next_step="correct ARG BASE_IMAGE in their Dockerfiles",
            )
        ordered |= {source.image: source for source in ready}
        waiting = [source for source in waiting if source not in ready]
    return tuple(ordered.values())


def judge(
    source: ImageSource,
    found: Mapping[str, FoundImage],
    *,
    parent: ImagePlan | None,
    given: str | None,
    force: bool,
) -> tuple[ImageState, str]:
    """An image's state, and why it has to be built ("" where it has not)."""
    image = found.get(source.image)
    if image is None:
        return ImageState.MISSING, "it is not there yet"
    if source.content_tag not in image.tags:
        return ImageState.OUTDATED, "its files changed"
    below = given or (parent.source.image if parent else None)
    if parent and parent.to_build:
        return ImageState.OUTDATED, f"{below} is built anew"
    if below and (below not in found or not image.stands_on(found[below])):
        return ImageState.OUTDATED, f"it stands on another base than {below}"
    if force:
        return ImageState.CURRENT, "asked for"
    return ImageState.CURRENT, ""
