"""The versions of pipelines: ListPipelineVersions, UpdatePipelineVersion, and what others ask.

Rules by botocore's model: a pipeline begins with version 1, an update that changes the definition
makes the next one, an alias is unique within the pipeline. The model's ``UpdatePipeline`` says that
aliases go with such an update alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from mlops.errors import ServiceError
from mlops.ports import ExecutionRecord, JsonObject, PipelineRecord, ResourceRecord, StateStore
from mlops.services.arns import resource_name
from mlops.services.operation import Handler, Now
from mlops.services.paging import between, ordered, page
from mlops.services.validation import invalid, missing

KIND = "pipeline-version"
MOST_ALIASES = 10
"""Of one version (botocore sagemaker ``CreatePipelineRequest``)."""


class PipelineVersions:
    """Versions are resources: ``<pipeline>/<id>``, with the definition's text."""

    def __init__(self, state: StateStore, now: Now) -> None:
        self._state = state
        self._now = now

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {"ListPipelineVersions": self._list, "UpdatePipelineVersion": self._update}

    # --- for the operations of pipelines and executions; within their transactions ---

    def of(self, pipeline: PipelineRecord) -> Iterator[ResourceRecord]:
        """The newest first. A pipeline of before there were versions here has one, its own."""
        newest = self._newest(pipeline)
        yield newest
        for number in range(int(newest.document["id"]) - 1, 0, -1):
            version = self._numbered(pipeline, number)
            if version is not None:
                yield version

    def _newest(self, pipeline: PipelineRecord) -> ResourceRecord:
        """Found by doubling and halving: the numbers have no gaps, and each look is one row."""
        low, high = 0, 1
        while self._numbered(pipeline, high) is not None:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            if self._numbered(pipeline, middle) is None:
                high = middle
            else:
                low = middle
        found = self._numbered(pipeline, low)
        return found or _version(pipeline, 1, (), pipeline.last_modified_at)

    def _numbered(self, pipeline: PipelineRecord, number: int) -> ResourceRecord | None:
        return self._state.get_resource(KIND, f"{pipeline.name}/{number}")

    def add_first(self, pipeline: PipelineRecord, aliases: Sequence[str]) -> None:
        _check_aliases(aliases, ())
        self._state.put_resource(_version(pipeline, 1, aliases, pipeline.created_at))

    def add_changed(
        self, old: PipelineRecord, new: PipelineRecord, aliases: Sequence[str] | None
    ) -> int:
        """The version after an update: a new one where the definition is another."""
        newest = self._newest(old)
        latest = int(newest.document["id"])
        if new.definition == old.definition:
            if aliases is not None:
                raise invalid("PipelineVersionAliases need an update of the definition")
            return latest
        _check_aliases(aliases or (), self.of(old))
        self._state.put_resource(newest)  # the one of before there were versions
        self._state.put_resource(_version(new, latest + 1, aliases or (), new.last_modified_at))
        return latest + 1

    def asked_for(
        self, operation: str, pipeline: PipelineRecord, request: JsonObject
    ) -> ResourceRecord:
        """The version that a request names, else the latest.

        Raises:
            ServiceError: ``ResourceNotFound``; ``ValidationException`` where it names two.
        """
        number, alias = request.get("PipelineVersionId"), request.get("PipelineVersionAlias")
        if number is not None and alias is not None:
            raise invalid("Give one of PipelineVersionId and PipelineVersionAlias")
        if number is None and alias is None:
            return self._newest(pipeline)
        for version in self.of(pipeline):
            if version.document["id"] == number or alias in version.document["aliases"]:
                return version
        named = f"version {number}" if alias is None else f"version with the alias {alias}"
        raise missing(operation, f"Pipeline {pipeline.arn} has no {named}.")

    def run_by(self, execution: ExecutionRecord) -> ResourceRecord | None:
        """The version that an execution runs: the latest with its definition."""
        pipeline = self._state.get_pipeline(execution.pipeline_name)
        versions = self.of(pipeline) if pipeline is not None else ()
        same = (each for each in versions if each.document["definition"] == execution.definition)
        return next(iter(same), None)

    def forget(self, pipeline: PipelineRecord) -> None:
        for version in list(self.of(pipeline)):
            self._state.delete_resource(KIND, version.name)

    # --- operations ---

    def _list(self, request: JsonObject) -> JsonObject:
        pipeline = self._pipeline("ListPipelineVersions", request["PipelineName"])
        found = [
            version
            for version in self.of(pipeline)
            if between(
                version.created_at, request.get("CreatedAfter"), request.get("CreatedBefore")
            )
        ]
        in_order = ordered(found[::-1], request, {}, newest_first=True)
        rows, token = page(in_order, request, lambda version: version.name)
        last = self._last_executions(pipeline)
        return {
            "PipelineVersionSummaries": [
                {
                    **members_of(row),
                    "PipelineArn": pipeline.arn,
                    "PipelineVersionId": row.document["id"],
                    "CreationTime": row.created_at,
                    "LastExecutionPipelineExecutionArn": last.get(row.document["definition"]),
                }
                for row in rows
            ],
            "NextToken": token,
        }

    def _last_executions(self, pipeline: PipelineRecord) -> dict[str, str]:
        """The ARN of the last execution of each definition."""
        executions = self._state.list_executions(pipeline.name, newest_first=False)
        return {execution.definition: execution.arn for execution in executions}

    def _update(self, request: JsonObject) -> JsonObject:
        with self._state.transaction():
            pipeline = self._pipeline("UpdatePipelineVersion", request["PipelineArn"])
            version = self.asked_for("UpdatePipelineVersion", pipeline, request)
            document = dict(version.document)
            for member, name in (
                ("PipelineVersionDisplayName", "display_name"),
                ("PipelineVersionDescription", "description"),
            ):
                document[name] = request.get(member, document[name])
            document["aliases"] = self._with_operations(pipeline, version, request)
            self._state.put_resource(
                replace(version, document=document, last_modified_at=self._now())
            )
        return {"PipelineArn": pipeline.arn, "PipelineVersionId": version.document["id"]}

    def _with_operations(
        self, pipeline: PipelineRecord, version: ResourceRecord, request: JsonObject
    ) -> list[str]:
        operations = request.get("PipelineVersionAliasOperations", {})
        removed, added = operations.get("Remove", ()), operations.get("Add", ())
        if set(removed) & set(added):
            raise invalid("An alias cannot be in both Add and Remove")
        kept = [alias for alias in version.document["aliases"] if alias not in removed]
        new = [alias for alias in added if alias not in kept]
        others = [each for each in self.of(pipeline) if each.name != version.name]
        _check_aliases([*kept, *new], others)
        return [*kept, *new]

    def _pipeline(self, operation: str, name_or_arn: str) -> PipelineRecord:
        pipeline = self._state.get_pipeline(resource_name(name_or_arn))
        if pipeline is None:
            raise missing(operation, f"Pipeline '{name_or_arn}' does not exist.")
        return pipeline


def members_of(version: ResourceRecord) -> JsonObject:
    """What Describe and List tell of a version beside its number."""
    document = version.document
    return {
        "PipelineVersionDisplayName": document["display_name"],
        "PipelineVersionDescription": document["description"],
        "PipelineVersionAliases": document["aliases"] or None,
    }


def _version(
    pipeline: PipelineRecord, number: int, aliases: Sequence[str], at: datetime
) -> ResourceRecord:
    return ResourceRecord(
        kind=KIND,
        name=f"{pipeline.name}/{number}",
        arn=f"{pipeline.arn}/version/{number}",
        created_at=at,
        last_modified_at=at,
        status="Active",
        document={
            "pipeline": pipeline.name,
            "id": number,
            "definition": pipeline.definition,
            "aliases": list(aliases),
            "display_name": None,
            "description": None,
        },
    )


def _check_aliases(aliases: Sequence[str], others: Iterable[ResourceRecord]) -> None:
    if len(aliases) > MOST_ALIASES:
        raise invalid(f"A pipeline version may have {MOST_ALIASES} aliases at most")
    taken = {alias for other in others for alias in other.document["aliases"]}
    for alias in aliases:
        if alias in taken or aliases.count(alias) > 1:
            raise ServiceError(
                "ConflictException", f"The alias {alias} is that of a version already"
            )
