"""Definitions as the SDKs write them: v2 and v3 are equal guests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlops.definition import (
    CacheConfig,
    PipelineDefinition,
    ProcessingStep,
    PropertyFile,
    StepType,
    bind_parameters,
    parse_definition,
    render_texts,
    resolve,
)
from mlops.errors import DefinitionError


@pytest.fixture
def read(definitions: Path) -> Any:
    def read(name: str) -> PipelineDefinition:
        return parse_definition((definitions / name).read_text(encoding="utf-8"))

    return read


LAB = {
    "ETL": (StepType.PROCESSING, ()),
    "Train": (StepType.TRAINING, ("ETL",)),
    "Evaluate": (StepType.PROCESSING, ("Train", "ETL")),
    "Condition": (StepType.CONDITION, ("Evaluate",)),
    "Fail": (StepType.FAIL, ()),
}


@pytest.mark.parametrize(
    ("name", "registers_after"),
    [("lab.json", {"Train", "ETL", "Evaluate"}), ("v2_lab.json", {"Train"})],
)
def test_v2_lab(read: Any, name: str, registers_after: set[str]) -> None:
    definition = read(name)
    found = {s.name: (s.type, s.dependencies) for s in definition.all_steps()}
    assert set(found.pop("Register-RegisterModel")[1]) == registers_after
    assert found == LAB
    assert [step.name for step in definition.steps] == ["ETL", "Train", "Evaluate", "Condition"]


def test_what_v2_says_beside_the_arguments(read: Any) -> None:
    definition = read("v2_lab.json")
    etl, train, evaluate = (definition.step(name) for name in ("ETL", "Train", "Evaluate"))
    assert etl.cache_config == CacheConfig(enabled=True, expire_after="P30D")
    assert isinstance(etl, ProcessingStep)
    assert etl.output_names == ("train", "validation", "test")
    assert [policy.exception_types for policy in train.retry_policies] == [
        ("Step.THROTTLING",),
        ("SageMaker.CAPACITY_ERROR",),
    ]
    assert [policy.max_attempts for policy in train.retry_policies] == [3, None]
    assert evaluate.property_files == (
        PropertyFile("EvaluationReport", "evaluation", "evaluation.json"),
    )


def test_v3_lab(read: Any) -> None:
    expected = LAB | {
        "Evaluate": (StepType.PROCESSING, ("Train",)),
        "Register": (StepType.REGISTER_MODEL, ("Train",)),
    }
    definition = read("v3_lab.json")
    assert {s.name: (s.type, s.dependencies) for s in definition.all_steps()} == expected


@pytest.mark.parametrize("name", ["v2_lab.json", "v3_lab.json"])
def test_an_integer_parameter_as_hyperparameter_becomes_a_string(
    read: Any, scope: Any, name: str
) -> None:
    """v2 writes a Std:Join, v3 a bare Get."""
    definition = read(name)
    output = {"OutputName": "train", "S3Output": {"S3Uri": "s3://b/train"}}
    outputs = [output, output | {"OutputName": "validation"}]
    here = scope(
        bind_parameters(definition, {"Epochs": "7"}),
        {"PipelineName": "lab", "PipelineExecutionId": "x"},
        {"ETL": {"ProcessingOutputConfig": {"Outputs": outputs}}},
    )
    request = resolve(definition.step("Train").arguments, here)
    assert render_texts(request["HyperParameters"])["epochs"] in ("7", '"7"')
    assert request["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] == "s3://b/train"


def test_v2_all_forms(read: Any) -> None:
    definition = read("v2_all_forms.json")
    graph = definition.graph
    assert graph.names == ("Train-It", "Outer", "Inner", "Too-Much", "Make-CreateModel", "After")
    assert graph.after["After"] == ("Train-It", "Outer")
    assert graph.after["Inner"] == ("Outer", "Train-It")
    assert (graph.gates["Inner"].step, graph.gates["Inner"].outcome) == ("Outer", True)
    assert graph.gates["Make-CreateModel"].outcome is False
    assert definition.step("After").display_name == "After all"


def test_v2_deploy(read: Any) -> None:
    definition = read("v2_deploy.json")
    found = {s.name: (s.type, s.dependencies) for s in definition.all_steps()}
    assert found == {
        "Create-CreateModel": (StepType.MODEL, ()),
        "Configure": (StepType.ENDPOINT_CONFIG, ("Create-CreateModel",)),
        "Deploy": (StepType.ENDPOINT, ("Configure",)),
        "Check": (StepType.CONDITION, ("Deploy",)),
        "NotUp": (StepType.FAIL, ("Deploy",)),
    }
    configure = definition.step("Configure")
    assert configure.cache_config == CacheConfig(enabled=True, expire_after="P1D")
    assert [policy.max_attempts for policy in configure.retry_policies] == [2]


def test_v2_transform(read: Any) -> None:
    assert read("v2_transform.json").step("Batch").type is StepType.TRANSFORM


def test_a_type_that_does_not_run_here_is_refused_by_name() -> None:
    tuning = {"Name": "Search", "Type": "Tuning", "Arguments": {}}
    with pytest.raises(DefinitionError, match="'Search' has the type Tuning"):
        parse_definition(json.dumps({"Version": "2020-12-01", "Steps": [tuning]}))
