"""`validate` tells all that is wrong at once, each with its JSON path; real definitions pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlops.developing.findings import Severity
from mlops.developing.validation import check_definition

DEFINITIONS = Path(__file__).parents[2] / "data" / "definitions"
ECR = "000000000000.dkr.ecr.us-east-1.amazonaws.com/mlops-processing:latest"


def processing(name: str = "A", image: str = ECR, **changes: Any) -> dict[str, Any]:
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    members = {key: changes.pop(key) for key in ("DependsOn", "PropertyFiles") if key in changes}
    arguments = {
        "AppSpecification": {"ImageUri": image, "ContainerEntrypoint": ["true"]},
        "ProcessingResources": {"ClusterConfig": cluster},
        "RoleArn": "arn:aws:iam::000000000000:role/r",
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments | changes, **members}


def source(uri: Any, place: str = "/opt/ml/processing/input/a") -> dict[str, Any]:
    s3 = {"S3Uri": uri, "LocalPath": place, "S3DataType": "S3Prefix", "S3InputMode": "File"}
    return {"ProcessingInputs": [{"InputName": "a", "S3Input": s3}]}


def check(*steps: dict[str, Any], **top: Any) -> list[tuple[str, str, str]]:
    text = json.dumps({"Version": "2020-12-01", "Steps": steps, **top})
    found = check_definition(
        text,
        buckets=lambda: {"there"},
        image_refusal=lambda image: "no such image" if "nowhere" in image else None,
    )
    return [(str(each.severity), each.path, each.message) for each in found]


@pytest.mark.parametrize("name", ["lab", "v2_all_forms", "v2_deploy", "v2_lab", "v3_lab"])
def test_what_the_sdks_emit_has_no_error(name: str) -> None:
    text = (DEFINITIONS / f"{name}.json").read_text(encoding="utf-8")
    found = check_definition(
        text,
        buckets=lambda: {"mlops-us-east-1-000000000000", "data-us-east-1-000000000000", "bucket"},
        image_refusal=lambda image: None,
    )
    assert [each for each in found if each.severity is Severity.ERROR] == []


def test_what_the_model_refuses_is_told_with_its_path_while_references_are_open() -> None:
    train = {"Get": "Steps.A.ProcessingOutputConfig.Outputs['x'].S3Output.S3Uri"}
    outputs = {"Outputs": [{"OutputName": "x", "S3Output": {"S3Uri": "s3://there/x"}}]}
    first = processing(ProcessingOutputConfig=outputs)
    second = processing("B", **source(train), Environment={"N": 3, "JOIN": {"Get": "Parameters.P"}})
    second["Arguments"]["ProcessingResources"]["ClusterConfig"]["InstanceType"] = "big"
    found = check(first, second, Parameters=[{"Name": "P", "Type": "Integer"}])
    assert [(severity, path) for severity, path, _ in found] == [
        ("error", "Steps[0].Arguments.ProcessingOutputConfig.Outputs[0].S3Output.S3UploadMode"),
        ("error", "Steps[1].Arguments.ProcessingResources.ClusterConfig.InstanceType"),
    ]


def test_what_the_operation_refuses_beyond_the_model_is_told() -> None:
    ((severity, path, message),) = check(processing(**source("s3://there/a", "/elsewhere")))
    assert (severity, path) == ("error", "Steps[0].Arguments")
    assert "must begin with /opt/ml/processing/" in message


def test_a_missing_bucket_and_a_missing_image_are_told() -> None:
    found = check(processing(image="nowhere:1", **source("s3://gone/a")))
    assert [(severity, path) for severity, path, _ in found] == [
        ("error", "Steps[0].Arguments.AppSpecification.ImageUri"),
        ("error", "Steps[0].Arguments.ProcessingInputs[0].S3Input.S3Uri"),
    ]


def test_the_bucket_of_a_parameters_default_is_looked_for() -> None:
    parameters = [{"Name": "P", "Type": "String", "DefaultValue": "s3://gone/a"}]
    found = check(processing(**source({"Get": "Parameters.P"})), Parameters=parameters)
    assert [message for _, _, message in found] == [
        "There is no bucket 'gone' here; make it, or correct the address"
    ]


def test_an_image_that_only_runs_here_is_a_warning() -> None:
    ((severity, path, _),) = check(processing(image="python:3.11-slim"))
    assert (severity, path) == ("warning", "Steps[0].Arguments.AppSpecification.ImageUri")


def test_steps_that_never_run_and_parameters_that_nobody_uses_are_warnings() -> None:
    question = {"Type": "Equals", "LeftValue": {"Get": "Parameters.P"}, "RightValue": 1}
    fixed = {"Type": "Equals", "LeftValue": 1, "RightValue": 1}
    branches = {"IfSteps": [processing("Yes")], "ElseSteps": [processing("No")]}
    gate = {
        "Name": "Gate",
        "Type": "Condition",
        "Arguments": {"Conditions": [question], **branches},
    }
    both = processing("Both", DependsOn=["Yes", "No"])
    always = {"Name": "Always", "Type": "Condition", "Arguments": {"Conditions": [fixed]}}
    parameters = [{"Name": name, "Type": "Integer"} for name in ("P", "Q")]
    found = check(gate, both, always, Parameters=parameters)
    assert [(severity, path) for severity, path, _ in found] == [
        ("warning", "Steps[1]"),
        ("warning", "Steps[2].Arguments.Conditions"),
        ("warning", "Parameters[1]"),
    ]


def test_the_problems_of_the_tree_come_with_their_paths() -> None:
    wrong = processing("B", DependsOn=["Nobody"], PropertyFiles=[{"PropertyFileName": "f"}])
    found = check(wrong, {"Name": "T", "Type": "Tuning", "Arguments": {}})
    assert {path for _, path, _ in found} >= {
        "Steps[0].DependsOn[0]",
        "Steps[0].PropertyFiles[0]",
        "Steps[1].Type",
    }
