"""What every step is, and how one is read from JSON.

Each step type lives in a file of its own and is entered in the registry of this package. A class
says which members and arguments its steps have and answers for those who refer to it; nobody else
asks a step for its type to find out what it can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, TypedDict

from mlops.definition.caching import CacheConfig, read_cache_config
from mlops.definition.conditions.base import ConditionKind, ConditionReader
from mlops.definition.expressions.base import (
    Expression,
    ExpressionReader,
    FunctionReader,
    Reference,
)
from mlops.definition.fields import Fields
from mlops.definition.limits import MAX_DESCRIPTION, MAX_DISPLAY_NAME, STEP_NAME
from mlops.definition.location import ROOT, Location
from mlops.definition.problems import Problems, suggestion
from mlops.definition.property_file import PropertyFile, PropertyFiles, read_property_files
from mlops.definition.property_path import Member, Segment
from mlops.definition.retry import RetryPolicy, read_retry_policy
from mlops.definition.trigger import Trigger, read_depends_on


class StepType(StrEnum):
    """Every type that the SDKs emit: v2's ``StepTypeEnum``, and the last four of v3."""

    PROCESSING = "Processing"
    TRAINING = "Training"
    CONDITION = "Condition"
    FAIL = "Fail"
    REGISTER_MODEL = "RegisterModel"
    MODEL = "Model"
    TRANSFORM = "Transform"
    TUNING = "Tuning"
    LAMBDA = "Lambda"
    CALLBACK = "Callback"
    QUALITY_CHECK = "QualityCheck"
    CLARIFY_CHECK = "ClarifyCheck"
    EMR = "EMR"
    AUTO_ML = "AutoML"
    ENDPOINT_CONFIG = "EndpointConfig"
    ENDPOINT = "Endpoint"
    INFERENCE_COMPONENT = "InferenceComponent"
    LINEAGE = "Lineage"
    EMR_SERVERLESS = "EMRServerless"
    JOB = "Job"
    CLEANUP = "Cleanup"
    FOR_EACH = "ForEach"


COMMON_MEMBERS = ("Name", "Type", "Arguments", "DependsOn", "DisplayName", "Description")


class CommonValues(TypedDict):
    """What is read alike for every type."""

    name: str
    type: StepType
    depends_on: tuple[str, ...]
    triggers: Mapping[str, Trigger]
    display_name: str | None
    description: str | None
    retry_policies: tuple[RetryPolicy, ...]
    cache_config: CacheConfig | None
    property_files: tuple[PropertyFile, ...]
    location: Location


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step as the definition declares it."""

    MEMBERS: ClassVar[tuple[str, ...]] = ("RetryPolicies", "CacheConfig")
    """The members beyond those that every step has."""
    REQUIRED_ARGUMENTS: ClassVar[tuple[str, ...]] = ()
    """Members of ``Arguments`` without which the service refuses the request."""
    ONE_OF_ARGUMENTS: ClassVar[tuple[str, ...]] = ()
    """Members of ``Arguments`` of which one must be there."""
    NEEDS_ARGUMENTS: ClassVar[bool] = True

    name: str
    type: StepType
    arguments: Expression
    """Resolves to the request of the operation that the step calls, without the job's name."""
    depends_on: tuple[str, ...] = ()
    """Names in ``DependsOn``; ``dependencies`` has these and the implicit ones."""
    triggers: Mapping[str, Trigger] = field(default_factory=dict)
    """Of those in ``DependsOn`` which let this step run at another end than ``Completed``."""
    display_name: str | None = None
    description: str | None = None
    retry_policies: tuple[RetryPolicy, ...] = ()
    cache_config: CacheConfig | None = None
    property_files: tuple[PropertyFile, ...] = ()
    references: tuple[Reference, ...] = ()
    """Every reference in the step's own expressions, those of nested steps not among them."""
    location: Location = field(default=ROOT, compare=False, repr=False)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The steps that this one waits for: ``DependsOn``, then what its expressions name."""
        implicit = (reference.step_name for reference in self.references)
        return tuple(dict.fromkeys((*self.depends_on, *(name for name in implicit if name))))

    @property
    def branches(self) -> Mapping[bool, tuple[Step, ...]]:
        """The steps nested in this one, by the outcome that lets them run."""
        return {}

    def refuse_dependents(self) -> str | None:
        """Why no other step can wait for this one, or None where one can."""
        return None

    def refuse_property(self, path: Sequence[Segment]) -> str | None:
        """Why this step will never have a property, or None where it may."""
        match path:
            case (Member("Outcome" | "OutputParameters" as name), *_):
                return f"The step {self.name!r} is a {self.type} step, which has no {name}"
        return None

    @classmethod
    def read(cls, common: CommonValues, fields: Fields, reader: StepReader) -> Step:
        """Read what is this type's own."""
        expressions = reader.expressions()
        arguments = cls.read_arguments(fields, expressions)
        return cls(**common, arguments=arguments, references=tuple(expressions.references))

    @classmethod
    def read_arguments(cls, fields: Fields, expressions: ExpressionReader) -> Expression:
        value = fields.object("Arguments")
        if value is None and cls.NEEDS_ARGUMENTS and not fields.has("Arguments"):
            fields.require("Arguments", "The step")
        elif value is not None:
            cls._check_arguments(Fields(value, fields.at("Arguments"), fields.problems))
        return expressions.read(value or {}, fields.at("Arguments"))

    @classmethod
    def _check_arguments(cls, arguments: Fields) -> None:
        for key in cls.REQUIRED_ARGUMENTS:
            arguments.require(key, "The step's request")
        one_of = cls.ONE_OF_ARGUMENTS
        if one_of and all(arguments.get(key) is None for key in one_of):
            arguments.problems.add(
                arguments.location, f"The step's request needs one of {', '.join(one_of)}"
            )


class StepReader:
    """Reads the steps of one definition, and remembers them by name as they are declared."""

    def __init__(
        self,
        kinds: Mapping[StepType, type[Step]],
        *,
        functions: Mapping[str, FunctionReader],
        conditions: Mapping[str, ConditionKind],
        property_files: PropertyFiles,
        problems: Problems,
    ) -> None:
        self._kinds = kinds
        self._functions = functions
        self._conditions = conditions
        self._property_files = property_files
        self._problems = problems
        self._reserved: set[str] = set()
        self.declared: dict[str, Step] = {}

    def expressions(self) -> ExpressionReader:
        """A reader for the expressions of one step."""
        return ExpressionReader(self._functions, self._problems)

    def conditions(self, expressions: ExpressionReader) -> ConditionReader:
        """A reader for the conditions of one step."""
        return ConditionReader(self._conditions, expressions)

    def read_steps(self, fields: Fields, key: str) -> tuple[Step, ...]:
        """The steps in a list."""
        found = (self._read_step(entry) for entry in fields.objects(key))
        return tuple(step for step in found if step is not None)

    def _read_step(self, fields: Fields) -> Step | None:
        name = fields.string("Name") if fields.require("Name", "A step") else None
        kind = self._read_type(fields)
        if name is None or kind is None:
            return None
        self._reserve(name, fields)
        common = self._read_common(name, kind, fields)
        step = self._read_kind(kind, common, fields)
        if step is None:
            return None
        self.declared.setdefault(name, step)
        self._property_files.declare(name, step.property_files)
        return step

    def _read_kind(self, kind: StepType, common: CommonValues, fields: Fields) -> Step | None:
        step = self._kinds[kind]
        if step.__module__.startswith("mlops."):
            return step.read(common, fields, self)
        try:
            found = step.read(common, fields, self)
            if not isinstance(found, Step):
                raise TypeError(f"it gave {type(found).__name__}, no step")
        except Exception as error:  # noqa: BLE001 - a plug-in's code may raise what it likes
            problem = f"{type(error).__name__}: {error}"
            fields.refuse(
                "Type", f"The plug-in for {kind} steps failed on {common['name']!r}: {problem}"
            )
            return None
        return found

    def _read_type(self, fields: Fields) -> StepType | None:
        text = fields.string("Type") if fields.require("Type", "A step") else None
        if text is None:
            return None
        known = [str(kind) for kind in StepType]
        if text not in known:
            fields.refuse("Type", f"There is no step type {text!r}" + suggestion(text, known))
            return None
        return StepType(text)

    def _reserve(self, name: str, fields: Fields) -> None:
        if not STEP_NAME.fullmatch(name):
            fields.refuse("Name", f"{name!r} is no step name: 1 to 64 of A-Z a-z 0-9 - _ go")
        elif name in self._reserved:
            fields.refuse("Name", f"Two steps are called {name!r}; names are unique in a pipeline")
        self._reserved.add(name)

    def _read_common(self, name: str, kind: StepType, fields: Fields) -> CommonValues:
        members = (*COMMON_MEMBERS, *self._kinds[kind].MEMBERS)
        if ANY_MEMBER not in members:
            fields.only(members, f"A {kind} step")
        cache = fields.object("CacheConfig")
        depends_on, triggers = read_depends_on(fields)
        return CommonValues(
            name=name,
            type=kind,
            depends_on=depends_on,
            triggers=triggers,
            display_name=fields.string("DisplayName", longest=MAX_DISPLAY_NAME),
            description=fields.string("Description", longest=MAX_DESCRIPTION),
            retry_policies=tuple(map(read_retry_policy, fields.objects("RetryPolicies"))),
            cache_config=None
            if cache is None
            else read_cache_config(Fields(cache, fields.at("CacheConfig"), self._problems)),
            property_files=read_property_files(fields),
            location=fields.location,
        )


ANY_MEMBER = "*"
"""In ``MEMBERS``: whatever it is called."""
