"""Fail: ends the execution with the message that ``ErrorMessage`` resolves to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.expressions.base import Expression, ExpressionReader
from mlops.definition.fields import Fields
from mlops.definition.problems import json_type
from mlops.definition.steps.base import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class FailStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ()

    def refuse_dependents(self) -> str | None:
        # Asserted by the SDK's integration tests: the service refuses it at create.
        return f"No step can depend on {self.name!r}, which is a Fail step"

    @classmethod
    def read_arguments(cls, fields: Fields, expressions: ExpressionReader) -> Expression:
        value = fields.object("Arguments")
        if value is not None:
            arguments = Fields(value, fields.at("Arguments"), fields.problems)
            arguments.only(("ErrorMessage",), "The Arguments of a Fail step")
            message = arguments.get("ErrorMessage")
            if not isinstance(message, (str, dict)) and message is not None:
                arguments.refuse(
                    "ErrorMessage",
                    f"ErrorMessage must be a string or a function, not {json_type(message)}",
                )
        # Not the bare super(): a dataclass with slots is another class than the one being defined.
        return super(FailStep, cls).read_arguments(fields, expressions)
