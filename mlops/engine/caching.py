"""When two runs of a step are the same run: the keys of the step cache. Pure.

SageMaker's documentation, "Default cache key attributes by pipeline step type" and "Turn on step
caching": of the request that a step makes, the attributes below count and nothing else; an earlier
run of the same step of the same pipeline that succeeded, the newest within ``ExpireAfter``, lends
its outputs. Addresses count, not what lies there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeAlias

from mlops.definition import CacheConfig, StepType

KEY_ATTRIBUTES: Mapping[StepType, tuple[str, ...]] = {
    StepType.PROCESSING: ("AppSpecification", "Environment", "ProcessingInputs"),
    StepType.TRAINING: (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
    StepType.TRANSFORM: ("DataProcessing", "Environment", "ModelName", "TransformInput"),
}
"""By step type, for those that can run here and have a cache in the service."""

Contents: TypeAlias = Callable[[str, bool], str]
"""A word for what lies at an S3 address; True where that is a manifest of what counts."""

_SOURCE = "sagemaker_submit_directory"
_WRITTEN_ONLY = ("model_dir", "sagemaker_job_name")


def key_attributes(step_type: StepType, request: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a request that makes two runs of a step the same."""
    return {name: request[name] for name in KEY_ATTRIBUTES[step_type] if name in request}


def cache_key(
    pipeline_arn: str, step_name: str, step_type: StepType, attributes: Mapping[str, Any]
) -> str:
    """One word for a step of a pipeline and its attributes; equal where all of them are."""
    text = json.dumps([pipeline_arn, step_name, str(step_type), attributes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def made_after(config: CacheConfig, now: datetime) -> datetime | None:
    """The moment after which a result must have been made to count; None where any age will do."""
    age = config.longest_age
    return None if age is None else now - age


def output_uris(step_type: StepType, outputs: Mapping[str, Any]) -> Iterator[str]:
    """The S3 addresses in a step's outputs under which its job has put something.

    `outputs` is the Describe answer of its job.
    """
    match step_type:
        case StepType.PROCESSING:
            for each in outputs.get("ProcessingOutputConfig", {}).get("Outputs", ()):
                if "S3Output" in each:
                    yield each["S3Output"]["S3Uri"]
        case StepType.TRAINING:
            yield outputs["ModelArtifacts"]["S3ModelArtifacts"]
        case StepType.TRANSFORM:
            yield outputs["TransformOutput"]["S3OutputPath"]


def content_attributes(
    step_type: StepType, attributes: Mapping[str, Any], contents: Contents
) -> dict[str, Any]:
    """The attributes with what lies at an input's address in the place of the address.

    The addresses of code and data hold the time of their upload in some builds (SDK v2's repacked
    source, v3's ``code`` and ``sm_drivers`` channels), and the places where a job only writes hold
    it in others (v2's ``model_dir``, a debug hook's output): the former are replaced by
    `contents` of them, the latter left out.
    """
    found: dict[str, Any] = deepcopy(dict(attributes))
    match step_type:
        case StepType.PROCESSING:
            sources = [each.get("S3Input", {}) for each in found.get("ProcessingInputs", ())]
        case StepType.TRAINING:
            sources = [
                each.get("DataSource", {}).get("S3DataSource", {})
                for each in found.get("InputDataConfig", ())
            ]
            _without_build(found, contents)
        case _:
            transformed = found.get("TransformInput", {}).get("DataSource", {})
            sources = [transformed.get("S3DataSource", {})]
    for source in sources:
        if "S3Uri" in source:
            source["S3Uri"] = contents(source["S3Uri"], source.get("S3DataType") == "ManifestFile")
    return {"contents": found}


def _without_build(training: dict[str, Any], contents: Contents) -> None:
    """Take the marks of one build out of a training job's attributes."""
    parameters = training.get("HyperParameters", {})
    for name in _WRITTEN_ONLY:
        parameters.pop(name, None)
    if _SOURCE in parameters:
        # The SDK writes its own hyperparameters as JSON.
        parameters[_SOURCE] = contents(parameters[_SOURCE].strip('"'), False)
    training.get("DebugHookConfig", {}).pop("S3OutputPath", None)
