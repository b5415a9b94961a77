"""Processing: ``Arguments`` is a CreateProcessingJob request without the job's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlops.definition.expressions.base import Expression
from mlops.definition.fields import Fields
from mlops.definition.problems import suggestion
from mlops.definition.property_path import Key, Member, Segment
from mlops.definition.scope import JsonValue
from mlops.definition.steps.base import CommonValues, Step, StepReader


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingStep(Step):
    MEMBERS: ClassVar[tuple[str, ...]] = ("RetryPolicies", "CacheConfig", "PropertyFiles")
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = (
        "AppSpecification",
        "ProcessingResources",
        "RoleArn",
    )

    output_names: tuple[str, ...] | None = ()
    """The ``OutputName`` of each of its outputs; None where one is not known before it runs."""

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        match path:
            case (Member("ProcessingOutputConfig"), Member("Outputs"), Key(name), *_):
                return self._refuse_output(name)
        return super(ProcessingStep, self).refuse_property(path)

    @classmethod
    def read(cls, common: CommonValues, fields: Fields, reader: StepReader) -> Step:
        expressions = reader.expressions()
        arguments: Expression = cls.read_arguments(fields, expressions)
        step = cls(
            **common,
            arguments=arguments,
            references=tuple(expressions.references),
            output_names=_output_names(fields.get("Arguments")),
        )
        for index, file in enumerate(step.property_files):
            if (message := step._refuse_output(file.output_name)) is not None:
                fields.problems.add(fields.at("PropertyFiles").child(index), message)
        return step

    def _refuse_output(self, name: str) -> str | None:
        if self.output_names is None or name in self.output_names:
            return None
        return f"The step {self.name!r} has no output {name!r}" + suggestion(
            name, self.output_names
        )


def _output_names(arguments: JsonValue) -> tuple[str, ...] | None:
    config = arguments.get("ProcessingOutputConfig") if isinstance(arguments, Mapping) else None
    outputs = config.get("Outputs") if isinstance(config, Mapping) else None
    if not isinstance(outputs, list):
        return ()
    names = [output.get("OutputName") for output in outputs if isinstance(output, Mapping)]
    plain = tuple(name for name in names if isinstance(name, str))
    return plain if len(plain) == len(names) else None
