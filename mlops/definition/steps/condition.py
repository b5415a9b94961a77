"""Condition: asks, and lets one of two lists of steps run. Its outcome is ``true`` or ``false``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.conditions.base import Condition
from mlops.definition.expressions.base import Literal
from mlops.definition.fields import Fields
from mlops.definition.property_path import Member, Segment
from mlops.definition.steps.base import CommonValues, Step, StepReader


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionStep(Step):
    """All conditions must hold for the outcome to be true. ``arguments`` is empty."""

    MEMBERS: ClassVar[tuple[str, ...]] = ()

    conditions: tuple[Condition, ...]
    if_steps: tuple[Step, ...] = ()
    else_steps: tuple[Step, ...] = ()

    @property
    def branches(self) -> Mapping[bool, tuple[Step, ...]]:
        return {True: self.if_steps, False: self.else_steps}

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        if tuple(path) == (Member("Outcome"),):
            return None
        return f"The step {self.name!r} is a Condition step: its only property is Outcome"

    @classmethod
    def read(cls, common: CommonValues, fields: Fields, reader: StepReader) -> Step:
        expressions = reader.expressions()
        value = fields.object("Arguments") if fields.require("Arguments", "The step") else None
        arguments = Fields(value or {}, fields.at("Arguments"), fields.problems)
        arguments.only(("Conditions", "IfSteps", "ElseSteps"), "The Arguments of a Condition step")
        conditions = (
            ()
            if value is None
            else reader.conditions(expressions).read_list(
                arguments, "Conditions", "The Arguments of a Condition step"
            )
        )
        return cls(
            **common,
            arguments=Literal({}),
            references=tuple(expressions.references),
            conditions=conditions,
            if_steps=reader.read_steps(arguments, "IfSteps"),
            else_steps=reader.read_steps(arguments, "ElseSteps"),
        )
