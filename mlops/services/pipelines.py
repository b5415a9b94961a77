"""The pipeline operations: CreatePipeline, UpdatePipeline, DescribePipeline, …"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlops.definition import parse_definition
from mlops.errors import DefinitionError, NoSuchBucket, NoSuchKey, ServiceError
from mlops.ports import JsonObject, ObjectStore, PipelineRecord, StateStore
from mlops.services.arns import Arns, resource_name
from mlops.services.operation import Handler, Now
from mlops.services.paging import between, ordered, page
from mlops.services.pipeline_versions import PipelineVersions, members_of
from mlops.services.tags import forget_tags, store_tags
from mlops.services.validation import invalid, missing

MAXIMUM_DEFINITION = 1_048_576  # characters, by the service model (PipelineDefinition)


class PipelineOperations:
    def __init__(self, state: StateStore, objects: ObjectStore, arns: Arns, now: Now) -> None:
        self._state = state
        self._objects = objects
        self._arns = arns
        self._now = now
        self.versions = PipelineVersions(state, now)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreatePipeline": self.create,
            "UpdatePipeline": self.update,
            "DescribePipeline": self.describe,
            "ListPipelines": self.list_pipelines,
            "DeletePipeline": self.delete,
            **self.versions.handlers,
        }

    def create(self, request: JsonObject) -> JsonObject:
        """CreatePipeline. The same ClientRequestToken again answers as the first time did."""
        name, token = request["PipelineName"], request["ClientRequestToken"]
        text = self._definition_text(request)
        if text is None:
            raise invalid("One of PipelineDefinition and PipelineDefinitionS3Location is required")
        now = self._now()
        made = PipelineRecord(
            name=name,
            arn=self._arns.pipeline(name),
            definition=text,
            role_arn=request["RoleArn"],
            created_at=now,
            last_modified_at=now,
            display_name=request.get("PipelineDisplayName"),
            description=request.get("PipelineDescription"),
            max_parallel_steps=parallelism_of(request),
            client_request_token=token,
        )
        with self._state.transaction():
            existing = self._state.get_pipeline(name)
            if existing is None:
                _check_definition(text)
                self._state.put_pipeline(made)
                self.versions.add_first(made, request.get("PipelineVersionAliases", ()))
                store_tags(self._state, made.arn, request.get("Tags", []))
            elif existing.client_request_token != token:
                raise invalid(
                    "Pipeline names must be unique within an AWS account and region. "
                    f"Pipeline with name ({name}) already exists."
                )
        return {"PipelineArn": made.arn}

    def update(self, request: JsonObject) -> JsonObject:
        """UpdatePipeline: what the request does not name stays as it was."""
        text = self._definition_text(request)
        if text is not None:
            _check_definition(text)
        changes: dict[str, Any] = {
            "definition": text,
            "role_arn": request.get("RoleArn"),
            "display_name": request.get("PipelineDisplayName"),
            "description": request.get("PipelineDescription"),
            "max_parallel_steps": parallelism_of(request),
        }
        given = {name: value for name, value in changes.items() if value is not None}
        with self._state.transaction():
            old = self.find("UpdatePipeline", request["PipelineName"])
            new = replace(old, **given, last_modified_at=self._now())
            aliases = request.get("PipelineVersionAliases")
            version = self.versions.add_changed(old, new, aliases)
            self._state.put_pipeline(new)
        return {"PipelineArn": old.arn, "PipelineVersionId": version}

    def describe(self, request: JsonObject) -> JsonObject:
        pipeline = self.find("DescribePipeline", request["PipelineName"])
        version = self.versions.asked_for("DescribePipeline", pipeline, request)
        return {
            **self.description(pipeline),
            **members_of(version),
            "PipelineDefinition": version.document["definition"],
        }

    def description(self, pipeline: PipelineRecord) -> JsonObject:
        last = self._state.list_executions(pipeline.name, limit=1)
        return {
            **_summary(pipeline),
            "PipelineDefinition": pipeline.definition,
            "PipelineStatus": "Active",
            "LastRunTime": last[0].started_at if last else None,
            "CreatedBy": self._arns.user_context,
            "LastModifiedBy": self._arns.user_context,
            "ParallelismConfiguration": parallelism_member(pipeline.max_parallel_steps),
        }

    def list_pipelines(self, request: JsonObject) -> JsonObject:
        prefix = request.get("PipelineNamePrefix", "")
        found = [
            pipeline
            for pipeline in self._state.list_pipelines()
            if pipeline.name.startswith(prefix)
            and between(
                pipeline.created_at, request.get("CreatedAfter"), request.get("CreatedBefore")
            )
        ]
        by = {"Name": lambda pipeline: pipeline.name}
        rows, token = page(
            ordered(found, request, by, newest_first=True), request, lambda row: row.name
        )
        return {"PipelineSummaries": [self._list_entry(row) for row in rows], "NextToken": token}

    def _list_entry(self, pipeline: PipelineRecord) -> JsonObject:
        last = self._state.list_executions(pipeline.name, limit=1)
        return {
            **_summary(pipeline),
            "LastExecutionTime": last[0].started_at if last else None,
        }

    def delete(self, request: JsonObject) -> JsonObject:
        """DeletePipeline, with all its executions; refused while one of them runs."""
        with self._state.transaction():
            pipeline = self.find("DeletePipeline", request["PipelineName"])
            running = [
                execution.arn
                for execution in self._state.unfinished_executions()
                if execution.pipeline_name == pipeline.name
            ]
            if running:
                raise ServiceError(
                    "ConflictException",
                    f"Pipeline {pipeline.arn} has running executions, stop them first: "
                    + ", ".join(running),
                )
            self._state.delete_pipeline(pipeline.name)
            self.versions.forget(pipeline)
            forget_tags(self._state, pipeline.arn)
        return {"PipelineArn": pipeline.arn}

    def find(self, operation: str, name_or_arn: str) -> PipelineRecord:
        """The pipeline of a name or an ARN.

        Raises:
            ServiceError: ``ResourceNotFound``.
        """
        name = resource_name(name_or_arn)
        pipeline = self._state.get_pipeline(name)
        if pipeline is None:
            raise missing(operation, f"Pipeline '{self._arns.pipeline(name)}' does not exist.")
        return pipeline

    def _definition_text(self, request: JsonObject) -> str | None:
        text, location = (
            request.get("PipelineDefinition"),
            request.get("PipelineDefinitionS3Location"),
        )
        if text is not None and location is not None:
            raise invalid("Give one of PipelineDefinition and PipelineDefinitionS3Location")
        return text if location is None else self._definition_at(location)

    def _definition_at(self, location: JsonObject) -> str:
        uri = f"s3://{location['Bucket']}/{location['ObjectKey']}"
        if location.get("VersionId", "null") != "null":
            raise invalid(f"The local object store keeps no versions: give {uri} without VersionId")
        try:
            with self._objects.open(location["Bucket"], location["ObjectKey"]) as body:
                text = body.read(MAXIMUM_DEFINITION * 4 + 1).decode()
        except (NoSuchBucket, NoSuchKey) as error:
            raise invalid(f"The pipeline definition {uri} cannot be read: {error}") from error
        except UnicodeDecodeError as error:
            raise invalid(f"The pipeline definition {uri} is not UTF-8: {error}") from error
        if len(text) > MAXIMUM_DEFINITION:
            raise invalid(f"The pipeline definition {uri} has more than 1 MiB")
        return text


def _check_definition(text: str) -> None:
    try:
        parse_definition(text)
    except DefinitionError as error:
        raise invalid(str(error)) from error


def parallelism_of(request: JsonObject) -> int | None:
    configuration: JsonObject = request.get("ParallelismConfiguration", {})
    maximum: int | None = configuration.get("MaxParallelExecutionSteps")
    return maximum


def parallelism_member(maximum: int | None) -> JsonObject | None:
    return None if maximum is None else {"MaxParallelExecutionSteps": maximum}


def _summary(pipeline: PipelineRecord) -> JsonObject:
    return {
        "PipelineArn": pipeline.arn,
        "PipelineName": pipeline.name,
        "PipelineDisplayName": pipeline.display_name or pipeline.name,
        "PipelineDescription": pipeline.description,
        "RoleArn": pipeline.role_arn,
        "CreationTime": pipeline.created_at,
        "LastModifiedTime": pipeline.last_modified_at,
    }
