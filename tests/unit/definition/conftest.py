"""Definitions made by hand, small enough to see the one thing that a test is about."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlops.definition import PipelineDefinition, parse_definition
from mlops.errors import DefinitionError

Json = dict[str, Any]


class Make:
    """Builds pieces of definitions."""

    def pipeline(self, *steps: Json, parameters: Any = None, **more: Any) -> Json:
        parameters = [] if parameters is None else parameters
        return {"Version": "2020-12-01", "Parameters": parameters, "Steps": [*steps]} | more

    def parameter(self, name: str, kind: str = "String", **more: Any) -> Json:
        return {"Name": name, "Type": kind} | more

    def processing(self, name: str, *outputs: str, arguments: Any = None, **more: Any) -> Json:
        request = {
            "AppSpecification": {"ImageUri": "image"},
            "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1}},
            "RoleArn": "role",
            "ProcessingOutputConfig": {"Outputs": [{"OutputName": name} for name in outputs]},
        }
        return {"Name": name, "Type": "Processing", "Arguments": request | (arguments or {})} | more

    def training(self, name: str, arguments: Any = None, **more: Any) -> Json:
        request = {
            "AlgorithmSpecification": {"TrainingImage": "image"},
            "OutputDataConfig": {"S3OutputPath": "s3://b/o"},
            "ResourceConfig": {"InstanceCount": 1},
            "RoleArn": "role",
        }
        return {"Name": name, "Type": "Training", "Arguments": request | (arguments or {})} | more

    def condition(
        self, name: str, *conditions: Json, then: Any = (), otherwise: Any = (), **more: Any
    ) -> Json:
        always = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
        arguments = {
            "Conditions": [*conditions] or [always],
            "IfSteps": [*then],
            "ElseSteps": [*otherwise],
        }
        return {"Name": name, "Type": "Condition", "Arguments": arguments} | more

    def fail(self, name: str = "Fail", message: Any = "no") -> Json:
        return {"Name": name, "Type": "Fail", "Arguments": {"ErrorMessage": message}}


@pytest.fixture(scope="session")
def make() -> Make:
    return Make()


@pytest.fixture(scope="session")
def parse() -> Callable[[Any], PipelineDefinition]:
    return lambda document: parse_definition(json.dumps(document))


@pytest.fixture(scope="session")
def problems_of() -> Callable[[Any], list[tuple[str, str]]]:
    """The problems of a document, or of a text, as pairs of path and message."""

    def problems_of(document: Any) -> list[tuple[str, str]]:
        text = document if isinstance(document, str) else json.dumps(document)
        with pytest.raises(DefinitionError) as caught:
            parse_definition(text)
        return [(problem.path, problem.message) for problem in caught.value.problems]

    return problems_of


@pytest.fixture(scope="session")
def definitions() -> Path:
    """The folder of definitions that the SDKs wrote."""
    return Path(__file__).parents[2] / "data" / "definitions"


class FakeScope:
    """A scope of plain dictionaries."""

    def __init__(
        self,
        parameters: Json | None = None,
        variables: dict[str, str] | None = None,
        outputs: dict[str, Json] | None = None,
        files: dict[str, str] | None = None,
    ) -> None:
        self.parameters = parameters or {}
        self.execution_variables = variables or {}
        self._outputs = outputs or {}
        self._files = files or {}

    def step_outputs(self, step_name: str) -> Json:
        return self._outputs[step_name]

    def read_text(self, s3_uri: str) -> str:
        return self._files[s3_uri]


@pytest.fixture(scope="session")
def scope() -> type[FakeScope]:
    return FakeScope
