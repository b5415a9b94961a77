"""The container contract, as pure functions."""

from __future__ import annotations

import json

import pytest

from mlops.execution.opt_ml import (
    Surroundings,
    processing_command,
    processing_environment,
    processing_files,
    relative_to_base,
    training_command,
    training_environment,
    training_files,
)

SURROUNDINGS = Surroundings("eu-west-1", "http://172.17.0.1:4566")
TRAINING = {
    "TrainingJobName": "job",
    "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
}
PROCESSING = {
    "ProcessingJobName": "job",
    "AppSpecification": {"ImageUri": "image"},
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.t3.medium"}},
    "RoleArn": "role",
}


def test_a_training_without_anything_still_has_its_config_files() -> None:
    files = {name: json.loads(text) for name, text in training_files(TRAINING).items()}
    assert files["input/config/hyperparameters.json"] == {}
    assert files["input/config/inputdataconfig.json"] == {}
    assert files["input/config/resourceconfig.json"] == {
        "current_host": "algo-1",
        "current_instance_type": "local",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "local",
                "hosts": ["algo-1"],
            }
        ],
        "network_interface_name": "eth0",
    }


def test_a_processing_job_reads_its_own_request() -> None:
    files = {name: json.loads(text) for name, text in processing_files(PROCESSING, "arn").items()}
    config = files["config/processingjobconfig.json"]
    # The members of sagemaker/local/image.py's write_processing_config_files.
    assert set(config) == {
        "ProcessingJobArn",
        "ProcessingJobName",
        "AppSpecification",
        "Environment",
        "ProcessingInputs",
        "ProcessingOutputConfig",
        "ProcessingResources",
        "RoleArn",
        "StoppingCondition",
    }
    assert config["ProcessingJobArn"] == "arn"
    assert config["StoppingCondition"] == {"MaxRuntimeInSeconds": 86400}
    assert files["config/resourceconfig.json"]["hosts"] == ["algo-1"]


def test_every_container_can_reach_the_gateway() -> None:
    for variables in (
        training_environment(TRAINING, "arn", SURROUNDINGS),
        processing_environment(PROCESSING, "arn", SURROUNDINGS),
    ):
        assert variables["AWS_ENDPOINT_URL"] == variables["S3_ENDPOINT_URL"]
        assert variables["AWS_ENDPOINT_URL"] == "http://172.17.0.1:4566"
        assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "eu-west-1"
        assert variables["AWS_ACCESS_KEY_ID"]
        assert variables["AWS_SECRET_ACCESS_KEY"]


def test_the_requests_own_environment_wins() -> None:
    request = TRAINING | {"Environment": {"AWS_REGION": "mine"}}
    assert training_environment(request, "arn", SURROUNDINGS)["AWS_REGION"] == "mine"


def test_commands() -> None:
    assert training_command(TRAINING) == ((), ("train",))
    assert processing_command(PROCESSING) == ((), ())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/opt/ml/processing/a", "processing/a"),
        ("/opt/ml/processing/a/", "processing/a"),
        ("/opt/ml", None),
        ("/opt/mlx/a", None),
        ("/opt/ml/../a", None),
        ("opt/ml/a", None),
        ("", None),
    ],
)
def test_paths_below_the_base(path: str, expected: str | None) -> None:
    found = relative_to_base(path)
    assert (None if found is None else str(found)) == expected
