"""Whatever comes in: a tree or a DefinitionError, never another exception."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlops.definition import (
    RUNNABLE,
    PipelineDefinition,
    StepType,
    bind_parameters,
    parse_definition,
)
from mlops.errors import DefinitionError, ParameterError

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with other things."""

FIXTURES = sorted((Path(__file__).parents[2] / "data" / "definitions").glob("*.json"))

# Words of the grammar, so that what comes in is often nearly right.
GRAMMAR = """
    Version Parameters Steps Name Type Arguments DependsOn Get A B 2020-12-01 Or Not In
    Std:Join Std:JsonGet On Values Path PropertyFile S3Uri Conditions IfSteps ElseSteps LeftValue
    RightValue QueryValue Condition PropertyFiles PropertyFileName OutputName FilePath RetryPolicies
    CacheConfig Enabled ExceptionType MaxAttempts DefaultValue EnumValues Steps.A.X
    Steps.A.PropertyFiles.A Parameters.A Execution.PipelineName Steps.B.Outputs['a'][0] Equals
    LessThan String Float Integer Boolean
"""
WORDS = st.sampled_from([*GRAMMAR.split(), *(str(kind) for kind in RUNNABLE)])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=3), inner),
    max_leaves=30,
)


def parsed(text: str) -> PipelineDefinition | None:
    found: DefinitionError | None = None
    try:
        return parse_definition(text)
    except DefinitionError as error:
        found = error
    assert found.problems
    assert all(problem.path and problem.message for problem in found.problems)
    return None


@patient
@given(st.text())
@example("\ud800")
@example('{"Steps": "\\ud800"}')
def test_any_text(text: str) -> None:
    parsed(text)


@patient
@given(JSON)
def test_any_json(value: Any) -> None:
    parsed(json.dumps(value))


STEPS = st.fixed_dictionaries(
    {"Name": st.sampled_from("AB"), "Type": st.sampled_from([str(kind) for kind in StepType])},
    optional={
        "Arguments": JSON | st.fixed_dictionaries({"Conditions": JSON, "IfSteps": JSON}),
        "DependsOn": st.lists(st.sampled_from("ABC"), max_size=2),
        "PropertyFiles": JSON,
        "RetryPolicies": JSON,
        "CacheConfig": JSON,
    },
)


@patient
@given(st.lists(STEPS, max_size=4), JSON)
def test_any_steps(steps: list[Any], parameters: Any) -> None:
    parsed(json.dumps({"Version": "2020-12-01", "Parameters": parameters, "Steps": steps}))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@patient
@given(st.sampled_from(FIXTURES), st.randoms(use_true_random=False), JSON)
def test_a_real_definition_with_one_value_replaced(file: Path, random: Any, other: Any) -> None:
    document = json.loads(file.read_text(encoding="utf-8"))
    *path, last = random.choice([place for place in places(document) if place])
    target = document
    for key in path:
        target = target[key]
    target[last] = other
    definition = parsed(json.dumps(document))
    if definition is not None:
        assert definition.graph.names == tuple(step.name for step in definition.all_steps())


@patient
@given(
    st.sampled_from(["String", "Integer", "Float", "Boolean"]),
    st.text(max_size=20) | st.from_regex(r"[-+0-9.eE_]{0,12}", fullmatch=True),
)
def test_any_parameter_text(kind: str, text: str) -> None:
    """A value of the declared type, or a ParameterError."""
    model = {"Name": "A", "Type": "Model", "Arguments": {"Containers": []}}
    parameters = [{"Name": "P", "Type": kind}]
    document = {"Version": "2020-12-01", "Parameters": parameters, "Steps": [model]}
    definition = parse_definition(json.dumps(document))
    types = {"String": str, "Integer": int, "Float": float, "Boolean": bool}
    try:
        value = bind_parameters(definition, {"P": text})["P"]
    except ParameterError:
        return
    assert type(value) is types[kind]
