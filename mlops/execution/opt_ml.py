"""The files and variables that a SageMaker job container finds: pure functions of the request.

Sources: "How Amazon SageMaker AI Provides Training Information" and "How Amazon SageMaker
Processing Configures Input and Output For Your Processing Container" (AWS documentation), and
``sagemaker/local/image.py`` (``write_config_files``, ``write_processing_config_files``).
Paths are relative to ``/opt/ml``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from mlops.execution.cluster import Cluster, Host, processing_cluster, training_cluster
from mlops.ports import JsonObject
from mlops.surroundings import Surroundings, common_environment

BASE = "/opt/ml"
PROCESSING_BASE = "/opt/ml/processing"
CHECKPOINTS = "/opt/ml/checkpoints"
NETWORK_INTERFACE = "eth0"

TRAINING_FOLDERS = ("input/config", "input/data", "model", "output/data")
PROCESSING_FOLDERS = ("config", "processing", "output")
DEFAULT_MAXIMUM_SECONDS = 86_400  # of both kinds of job, when no StoppingCondition is given


def relative_to_base(path: str, base: str = BASE) -> PurePosixPath | None:
    """`path` below ``/opt/ml`` as a relative path; None when it is not below `base`."""
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        return None
    if pure == PurePosixPath(base) or not pure.is_relative_to(base):
        return None
    return pure.relative_to(BASE)


# --- training ----------------------------------------------------------------------------------


def training_files(request: JsonObject, host: Host | None = None) -> dict[str, str]:
    """``/opt/ml/input/config/*.json`` of a CreateTrainingJob request, on one host (the first)."""
    cluster = training_cluster(request)
    return {
        "input/config/hyperparameters.json": _json(request.get("HyperParameters", {})),
        "input/config/inputdataconfig.json": _json(_channels(request)),
        "input/config/resourceconfig.json": _json(
            _training_resources(cluster, host or cluster.hosts[0])
        ),
    }


def _channels(request: JsonObject) -> JsonObject:
    default_mode = request.get("AlgorithmSpecification", {}).get("TrainingInputMode", "File")
    return {
        channel["ChannelName"]: _channel(channel, default_mode)
        for channel in request.get("InputDataConfig", ())
    }


def _channel(channel: JsonObject, default_mode: str) -> JsonObject:
    source = channel["DataSource"].get("S3DataSource", {})
    described: JsonObject = {
        "TrainingInputMode": channel.get("InputMode", default_mode),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        described["ContentType"] = channel["ContentType"]
    return described


def _training_resources(cluster: Cluster, host: Host) -> JsonObject:
    return {
        "current_host": host.name,
        "current_instance_type": host.instance_type,
        "current_group_name": host.group,
        "hosts": list(cluster.names),
        "instance_groups": [
            {
                "instance_group_name": group,
                "instance_type": hosts[0].instance_type,
                "hosts": [each.name for each in hosts],
            }
            for group, hosts in cluster.groups.items()
        ],
        "network_interface_name": NETWORK_INTERFACE,
    }


def training_environment(
    request: JsonObject, arn: str, surroundings: Surroundings
) -> dict[str, str]:
    """The variables of a training container; the request's own ``Environment`` wins."""
    return {
        **common_environment(surroundings),
        "TRAINING_JOB_NAME": request["TrainingJobName"],
        "TRAINING_JOB_ARN": arn,
        **request.get("Environment", {}),
    }


def training_command(request: JsonObject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """ENTRYPOINT and arguments: ``ContainerEntrypoint``, or the image's own with ``train``."""
    algorithm = request["AlgorithmSpecification"]
    arguments = tuple(algorithm.get("ContainerArguments", ()))
    entrypoint = tuple(algorithm.get("ContainerEntrypoint", ()))
    return (entrypoint, arguments) if entrypoint else ((), ("train", *arguments))


# --- processing --------------------------------------------------------------------------------


def processing_files(request: JsonObject, arn: str, host: Host | None = None) -> dict[str, str]:
    """``/opt/ml/config/*.json`` of a CreateProcessingJob request, on one host (the first)."""
    cluster = processing_cluster(request)
    here = host or cluster.hosts[0]
    return {
        "config/processingjobconfig.json": _json(_processing_job(request, arn)),
        "config/resourceconfig.json": _json(
            {
                "current_host": here.name,
                "current_instance_type": here.instance_type,
                "hosts": list(cluster.names),
                "network_interface_name": NETWORK_INTERFACE,
            }
        ),
    }


def _processing_job(request: JsonObject, arn: str) -> JsonObject:
    application = request["AppSpecification"]
    cluster = request["ProcessingResources"]["ClusterConfig"]
    maximum = request.get("StoppingCondition", {"MaxRuntimeInSeconds": DEFAULT_MAXIMUM_SECONDS})
    return {
        "ProcessingJobArn": arn,
        "ProcessingJobName": request["ProcessingJobName"],
        "AppSpecification": {
            "ImageUri": application["ImageUri"],
            "ContainerEntrypoint": application.get("ContainerEntrypoint"),
            "ContainerArguments": application.get("ContainerArguments"),
        },
        "Environment": request.get("Environment", {}),
        "ProcessingInputs": request.get("ProcessingInputs", []),
        "ProcessingOutputConfig": {
            "Outputs": request.get("ProcessingOutputConfig", {}).get("Outputs", []),
            "KmsKeyId": request.get("ProcessingOutputConfig", {}).get("KmsKeyId"),
        },
        "ProcessingResources": {"ClusterConfig": {"VolumeKmsKeyId": None, **cluster}},
        "RoleArn": request["RoleArn"],
        "StoppingCondition": maximum,
    }


def processing_environment(
    request: JsonObject, arn: str, surroundings: Surroundings
) -> dict[str, str]:
    """The variables of a processing container; the request's own ``Environment`` wins."""
    return {
        **common_environment(surroundings),
        "PROCESSING_JOB_NAME": request["ProcessingJobName"],
        "PROCESSING_JOB_ARN": arn,
        **request.get("Environment", {}),
    }


def processing_command(request: JsonObject) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """ENTRYPOINT (the image's own when empty) and arguments."""
    application = request["AppSpecification"]
    return (
        tuple(application.get("ContainerEntrypoint", ())),
        tuple(application.get("ContainerArguments", ())),
    )


# --- both --------------------------------------------------------------------------------------


def _json(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return json.dumps(value, ensure_ascii=False)
