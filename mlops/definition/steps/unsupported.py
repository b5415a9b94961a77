"""The step types that are known by name and cannot run here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.fields import Fields
from mlops.definition.property_path import Segment
from mlops.definition.steps.base import ANY_MEMBER, CommonValues, Step, StepReader


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsupportedStep(Step):
    """Read for its name and its references, so that all other problems are found with it."""

    MEMBERS: ClassVar[tuple[str, ...]] = (ANY_MEMBER,)
    NEEDS_ARGUMENTS: ClassVar[bool] = False
    REASON: ClassVar[str] = (
        "take the step out of the pipeline, run the pipeline in SageMaker, or install a package "
        "that offers the type (docs/steps.md: plug-ins)"
    )

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        return None

    @classmethod
    def read(cls, common: CommonValues, fields: Fields, reader: StepReader) -> Step:
        fields.problems.add(
            fields.at("Type"),
            f"The step {common['name']!r} has the type {common['type']}, which cannot run here "
            f"yet; {cls.REASON}",
            only_here=True,
        )
        # Not the bare super(): a dataclass with slots is another class than the one being defined.
        return super(UnsupportedStep, cls).read(common, fields, reader)


def unusable(reason: str) -> type[Step]:
    """The class of a step type that a plug-in was to offer, and why it does not."""

    class UnusableStep(UnsupportedStep):
        REASON: ClassVar[str] = reason

    return UnusableStep
