"""The limits and words of the pipeline operations one by one, each test named after its rule.

The rest of "SageMaker pipeline definition: what an engine has to honour" is in ``test_rules.py`` of
``tests/unit/definition`` and ``tests/unit/execution``; how selective executions and cache hits are
listed, in ``tests/integration/gateway`` and ``tests/integration/caching``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mlops.errors import ServiceError

Call = Callable[..., dict[str, Any]]
ROLE = "arn:aws:iam::000000000000:role/mlops-execution"


def definition(filler: int = 0, parameters: int = 0) -> str:
    """At least `filler` bytes long."""
    arguments = {"ErrorMessage": "x" * filler}
    step = {"Name": "Stop", "Type": "Fail", "Arguments": arguments}
    declared = [{"Name": f"P{n}", "Type": "String", "DefaultValue": "d"} for n in range(parameters)]
    return json.dumps({"Version": "2020-12-01", "Parameters": declared, "Steps": [step]})


def create(call: Call, name: str = "p", **more: Any) -> dict[str, Any]:
    request = {"PipelineName": name, "RoleArn": ROLE, "ClientRequestToken": "t" * 32} | more
    return call("CreatePipeline", **request)


def refusal(call: Call, operation: str, **request: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        call(operation, **request)
    assert caught.value.code == "ValidationException"
    return caught.value


@pytest.mark.parametrize("name", ["a", "A-1", "x" * 256])
def test_pipeline_names_that_fit_the_pattern(call: Call, name: str) -> None:
    assert create(call, name, PipelineDefinition=definition())["PipelineArn"]


@pytest.mark.parametrize("name", ["-a", "a-", "a_b", "a b", "x" * 257, ""])
def test_pipeline_names_that_do_not(call: Call, name: str) -> None:
    request = {"PipelineName": name, "RoleArn": ROLE, "ClientRequestToken": "t" * 32}
    refusal(call, "CreatePipeline", PipelineDefinition=definition(), **request)


def test_a_definition_is_1_mib_at_most(call: Call) -> None:
    request = {"PipelineName": "p", "RoleArn": ROLE, "ClientRequestToken": "t" * 32}
    refusal(call, "CreatePipeline", PipelineDefinition=definition(1 << 20), **request)


def test_a_definition_of_s3_is_1_mib_at_most(call: Call, objects: Any) -> None:
    """The SDK sends definitions from 100 KiB on through S3."""
    location = {"Bucket": "bucket", "ObjectKey": "k"}
    request = {"PipelineName": "p", "RoleArn": ROLE, "ClientRequestToken": "t" * 32}
    objects.texts["bucket", "k"] = definition(1 << 20)
    error = refusal(call, "CreatePipeline", PipelineDefinitionS3Location=location, **request)
    assert "more than 1 MiB" in str(error)
    # Many small members: a failure's message has a limit of its own.
    objects.texts["bucket", "k"] = definition(parameters=200) + " " * (200 << 10)
    assert create(call, PipelineDefinitionS3Location=location)


def test_a_duplicate_create_has_the_words_that_upsert_looks_for(call: Call) -> None:
    create(call, PipelineDefinition=definition())
    request = {"PipelineName": "p", "RoleArn": ROLE, "ClientRequestToken": "u" * 32}
    error = refusal(call, "CreatePipeline", PipelineDefinition=definition(), **request)
    assert str(error) == (
        "Pipeline names must be unique within an AWS account and region. "
        "Pipeline with name (p) already exists."
    )


def test_a_start_takes_200_parameters_at_most(call: Call) -> None:
    create(call, PipelineDefinition=definition(parameters=200))
    given = [{"Name": f"P{n}", "Value": "x"} for n in range(201)]
    start = {"PipelineName": "p", "ClientRequestToken": "s" * 32}
    refusal(call, "StartPipelineExecution", PipelineParameters=given, **start)
    assert call("StartPipelineExecution", PipelineParameters=given[:200], **start)


def test_a_selection_has_1_to_50_steps(call: Call) -> None:
    create(call, PipelineDefinition=definition())
    start = {"PipelineName": "p", "ClientRequestToken": "s" * 32}
    for count in (0, 51):
        steps = [{"StepName": f"S{n}"} for n in range(count)]
        config = {"SelectedSteps": steps}
        refusal(call, "StartPipelineExecution", SelectiveExecutionConfig=config, **start)


def test_max_parallel_execution_steps_is_at_least_1(call: Call) -> None:
    create(call, PipelineDefinition=definition())
    limit = {"MaxParallelExecutionSteps": 0}
    start = {"PipelineName": "p", "ClientRequestToken": "s" * 32}
    refusal(call, "StartPipelineExecution", ParallelismConfiguration=limit, **start)
