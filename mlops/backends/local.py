"""Pipelines on this machine: compiled here, kept and run by the gateway."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from mlops.assets import Asset
from mlops.authoring import CompiledPipeline, compile_target
from mlops.backends.base import DEFAULTS, StartOptions
from mlops.errors import ServiceError
from mlops.interrupts import interrupts_held
from mlops.settings import CACHE_HEADER, Settings


class Gateway(Protocol):
    """As much of `mlops.gateway.client.GatewayClient` as this backend uses."""

    @property
    def url(self) -> str: ...

    def call(
        self, operation: str, request: dict[str, Any], headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """A SageMaker operation; raises ServiceError, GatewayUnavailable."""
        ...


class LocalBackend:
    """`gateway` finds the gateway or starts it; it is called when one is needed, not before."""

    name = "local"

    def __init__(self, settings: Settings, gateway: Callable[[], Gateway]) -> None:
        self._settings = settings
        self._gateway = gateway

    def compile(self, target: str | None) -> CompiledPipeline:
        return compile_target(self._settings, target, lambda: self._gateway().url)

    def submit(
        self,
        pipeline: CompiledPipeline,
        parameters: Mapping[str, str],
        options: StartOptions = DEFAULTS,
    ) -> str:
        assets = needed_assets(pipeline, parameters)
        gateway = self._gateway()
        self._upload(gateway, assets)
        # One at a time: an execution has to run the definition that came with it, even when two
        # commands submit different pipelines of one name at once.
        with _locked(self._settings.store / "submit.lock"):
            self._upsert(gateway, pipeline, options)
            return self._start(gateway, pipeline, parameters, options)

    def describe(self, execution_arn: str) -> dict[str, Any]:
        request = {"PipelineExecutionArn": execution_arn}
        return self._gateway().call("DescribePipelineExecution", request)

    def stop(self, execution_arn: str) -> None:
        self._gateway().call(
            "StopPipelineExecution",
            {"PipelineExecutionArn": execution_arn, "ClientRequestToken": uuid4().hex},
        )

    def _upload(self, gateway: Gateway, assets: Sequence[Asset]) -> None:
        from mlops import aws

        s3 = aws.gateway_session(gateway.url, self._settings.region).client("s3")
        buckets = (self._settings.artifact_bucket, self._settings.raw_data_bucket)
        aws.provide(s3, buckets, assets)

    def _upsert(self, gateway: Gateway, pipeline: CompiledPipeline, options: StartOptions) -> None:
        request: dict[str, Any] = {
            "PipelineName": pipeline.name,
            "PipelineDefinition": pipeline.definition,
            "RoleArn": self._settings.execution_role_arn,
        }
        if options.max_parallel_steps is not None:
            limit = {"MaxParallelExecutionSteps": options.max_parallel_steps}
            request["ParallelismConfiguration"] = limit
        tags = [{"Key": key, "Value": value} for key, value in options.tags.items()]
        token = {"ClientRequestToken": uuid4().hex}
        try:
            gateway.call("CreatePipeline", request | token | ({"Tags": tags} if tags else {}))
        except ServiceError as error:
            # The service's own words for it; the SDK's upsert looks for them too.
            if "already exists" not in str(error):
                raise
            arn = gateway.call("UpdatePipeline", request)["PipelineArn"]
            if tags:
                gateway.call("AddTags", {"ResourceArn": arn, "Tags": tags})

    def _start(
        self,
        gateway: Gateway,
        pipeline: CompiledPipeline,
        parameters: Mapping[str, str],
        options: StartOptions,
    ) -> str:
        request: dict[str, Any] = {
            "PipelineName": pipeline.name,
            "ClientRequestToken": uuid4().hex,
            "PipelineParameters": [
                {"Name": name, "Value": value} for name, value in parameters.items()
            ],
        }
        if options.display_name is not None:
            request["PipelineExecutionDisplayName"] = options.display_name
        if options.description is not None:
            request["PipelineExecutionDescription"] = options.description
        # Not a member of the request: SageMaker's own operation has none for it.
        mode = options.cache_mode
        headers = None if mode is None else {CACHE_HEADER: mode}
        with interrupts_held() as interrupted:
            answer = gateway.call("StartPipelineExecution", request, headers)
            arn = str(answer["PipelineExecutionArn"])
            if interrupted():
                self.stop(arn)
        return arn


def needed_assets(pipeline: CompiledPipeline, parameters: Mapping[str, str]) -> list[Asset]:
    """What has to be in S3 for a start with these parameters.

    A parameter may replace a default that names an asset, which is then not needed; or the bucket
    of assets, which then have to be in the given bucket too.

    Raises:
        DefinitionError: with every problem in the definition.
        ParameterError: a parameter that is unknown, missing or wrong.
    """
    from mlops.definition import bind_parameters, parse_definition

    definition = parse_definition(pipeline.definition)
    bind_parameters(definition, parameters)
    given = {
        str(parameter.default): parameters[parameter.name]
        for parameter in definition.parameters
        if parameter.name in parameters
    }
    assets = [asset for asset in pipeline.assets if asset.uri not in given]
    moved = [
        replace(asset, bucket=given[asset.bucket]) for asset in assets if asset.bucket in given
    ]
    return assets + moved


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold an exclusive lock on `file` between processes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield  # closing the file lets the lock go
