"""From the text of a definition to its tree, in three stages.

1. Text to JSON: size, syntax, depth. A problem here is the only one, as nothing else can be read.
2. JSON to tree: each construct is read by the file that knows it; what is wrong is collected.
3. The tree as a whole: every name that is referred to must be declared, and no step may wait for
   itself, however indirectly.
"""

from __future__ import annotations

from mlops.definition.conditions import CONDITIONS
from mlops.definition.declarations import Declarations
from mlops.definition.expressions import functions
from mlops.definition.expressions.base import (
    Expression,
    ExpressionReader,
    ObjectExpression,
    Reference,
)
from mlops.definition.fields import Fields
from mlops.definition.graph import build_graph, find_cycles
from mlops.definition.json_text import JsonTextError, read_json
from mlops.definition.limits import DEFINITION_VERSION, MAX_DEFINITION_BYTES, MAX_DEPTH
from mlops.definition.location import ROOT
from mlops.definition.parameters import Parameter, read_parameters
from mlops.definition.pipeline import PipelineDefinition
from mlops.definition.problems import Problems, json_type
from mlops.definition.property_file import PropertyFiles
from mlops.definition.scope import JsonValue
from mlops.definition.steps import STEP_KINDS
from mlops.definition.steps.base import Step, StepReader

_TOP_LEVEL = (
    "Version",
    "Metadata",
    "Parameters",
    "PipelineExperimentConfig",
    "Steps",
    "MlflowConfig",  # SDK v3; null where it is not used
)

_MOST_STEPS_SHOWN = 30  # of a cycle


def parse_definition(text: str) -> PipelineDefinition:
    """Parse and validate the JSON text of a pipeline definition.

    Raises:
        DefinitionError: with every problem that was found, each with its JSON path.
    """
    problems = Problems()
    value = _read_text(text, problems)
    problems.raise_if_any()
    definition = _Document(Fields(value, ROOT, problems)).read()
    problems.raise_if_any()
    return definition


def _read_text(text: str, problems: Problems) -> dict[str, JsonValue]:
    # A lone surrogate can be in a Python string, not in UTF-8; it is only counted here.
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_DEFINITION_BYTES:
        problems.add(
            ROOT, f"The definition has {size:,} bytes, at most {MAX_DEFINITION_BYTES:,} go"
        )
        return {}
    try:
        value = read_json(text)
    except JsonTextError as error:
        problems.add(ROOT, f"The definition is not JSON: {error}")
        return {}
    if not isinstance(value, dict):
        problems.add(ROOT, f"The definition must be an object, not {json_type(value)}")
        return {}
    if _is_deeper(value, MAX_DEPTH):
        problems.add(ROOT, f"The values are nested more than {MAX_DEPTH} deep")
    return value


def _is_deeper(value: JsonValue, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        inner: list[JsonValue] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        if not inner:
            return False
        level = inner
    return True


class _Document:
    """Stages two and three for one definition."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._problems = fields.problems
        files = PropertyFiles()
        self._experiment = ExpressionReader(functions(files, {}), self._problems)
        self._experiment_config = self._read_experiment_config()
        self._steps = StepReader(
            STEP_KINDS,
            functions=functions(files, self._experiment_config),
            conditions=CONDITIONS,
            property_files=files,
            problems=self._problems,
        )

    def read(self) -> PipelineDefinition:
        fields = self._fields
        fields.only(_TOP_LEVEL, "A pipeline definition")
        if fields.get("MlflowConfig") is not None:
            fields.refuse("MlflowConfig", "MLflow tracking does not run here yet; leave it out")
        self._check_version()
        definition = PipelineDefinition(
            version=DEFINITION_VERSION,
            metadata=fields.object("Metadata") or {},
            parameters=read_parameters(fields),
            experiment_config=ObjectExpression(self._experiment_config),
            steps=self._read_steps(),
        )
        self._check_names(definition.parameters)
        self._check_cycles(definition.steps)
        return definition

    def _read_experiment_config(self) -> dict[str, Expression]:
        key = "PipelineExperimentConfig"
        members = self._fields.object(key) or {}
        at = self._fields.at(key)
        return {
            name: self._experiment.read(value, at.child(name)) for name, value in members.items()
        }

    def _check_version(self) -> None:
        if not self._fields.require("Version", "A pipeline definition"):
            return
        version = self._fields.string("Version")
        if version is not None and version != DEFINITION_VERSION:
            self._fields.refuse(
                "Version",
                f"The version is {version!r}, only {DEFINITION_VERSION!r} is known",
            )

    def _read_steps(self) -> tuple[Step, ...]:
        if not self._fields.require("Steps", "A pipeline definition"):
            return ()
        if self._fields.get("Steps") == []:
            self._fields.refuse("Steps", "A pipeline needs at least one step")
        return self._steps.read_steps(self._fields, "Steps")

    def _check_names(self, parameters: tuple[Parameter, ...]) -> None:
        names = {parameter.name for parameter in parameters}
        # Experiment and trial are made before any step runs.
        before_steps = Declarations(names, {})
        for reference in self._experiment.references:
            self._check_reference(reference, before_steps)
        declared = Declarations(names, self._steps.declared)
        for step in self._steps.declared.values():
            for reference in step.references:
                self._check_reference(reference, declared)
            for index, name in enumerate(step.depends_on):
                if (message := declared.refuse_step(name)) is not None:
                    at = step.location.child("DependsOn").child(index)
                    self._problems.add(at, message)

    def _check_reference(self, reference: Reference, declared: Declarations) -> None:
        if (message := reference.check(declared)) is not None:
            self._problems.add(reference.location, message)

    def _check_cycles(self, steps: tuple[Step, ...]) -> None:
        for cycle in find_cycles(build_graph(steps)):
            self._problems.add(
                self._steps.declared[cycle[0]].location,
                f"These steps wait for one another: {_arrows(cycle)}",
            )


def _arrows(cycle: tuple[str, ...]) -> str:
    shown = cycle
    if len(cycle) > _MOST_STEPS_SHOWN:
        half = _MOST_STEPS_SHOWN // 2
        shown = (*cycle[:half], f"({len(cycle) - 2 * half:,} more)", *cycle[-half:])
    return " → ".join(shown)
