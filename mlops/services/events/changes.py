"""A record that has changed, as the event that SageMaker sends for it. Pure.

Shapes: the Developer Guide, "Events that Amazon SageMaker AI sends to Amazon EventBridge". A member
that has no value yet (the end of what runs, the status before the first) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlops.ports import (
    ExecutionRecord,
    JsonObject,
    ModelPackageRecord,
    ResourceRecord,
    StepRecord,
)

SOURCE = "aws.sagemaker"
_JOBS = {"processing-job": "Processing", "training-job": "Training", "transform-job": "Transform"}
_ISO_TIMES = ("Transform",)
"""The kinds of jobs whose events have times as ISO 8601 in the guide; the others have milliseconds
since 1970, as text."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an event says beside its envelope."""

    detail_type: str
    resources: tuple[str, ...]
    detail: JsonObject


def execution_change(old: ExecutionRecord | None, new: ExecutionRecord) -> Change | None:
    """The event of an execution whose status is another one now; None of any other."""
    if old is not None and old.status is new.status:
        return None
    return Change(
        "SageMaker Model Building Pipeline Execution Status Change",
        (new.pipeline_arn, new.arn),
        _present(
            {
                "pipelineExecutionDescription": new.description,
                "pipelineExecutionDisplayName": new.display_name,
                "currentPipelineExecutionStatus": str(new.status),
                "previousPipelineExecutionStatus": None if old is None else str(old.status),
                "executionStartTime": _iso(new.started_at),
                "executionEndTime": _iso(new.last_modified_at) if new.status.ended else None,
                "pipelineArn": new.pipeline_arn,
                "pipelineExecutionArn": new.arn,
            }
        ),
    )


def step_changes(old: StepRecord | None, new: StepRecord) -> Iterator[Change]:
    """The events of a step: of its own status, and of its job's."""
    pipeline = new.execution_arn.rpartition("/execution/")[0]
    if old is None or old.status is not new.status:
        cached = {"sourcePipelineExecutionArn": new.cached_from} if new.cache_hit else None
        yield Change(
            "SageMaker Model Building Pipeline Execution Step Status Change",
            (pipeline, new.execution_arn),
            _present(
                {
                    "metadata": _lower_first(new.metadata),
                    "stepStartTime": _iso(new.started_at),
                    "stepEndTime": None if new.ended_at is None else _iso(new.ended_at),
                    "stepName": new.name,
                    "stepType": new.type,
                    "previousStepStatus": None if old is None else str(old.status),
                    "currentStepStatus": str(new.status),
                    "failureReason": new.failure_reason,
                    "cacheHitResult": cached,
                    "pipelineArn": pipeline,
                    "pipelineExecutionArn": new.execution_arn,
                }
            ),
        )
    if new.type in _JOBS.values() and not new.cache_hit and new.reused_from is None:
        yield from _job_changes(new.type, old.outputs if old else {}, new.outputs)


def resource_changes(old: ResourceRecord | None, new: ResourceRecord) -> Iterator[Change]:
    """The events of a job that somebody asked for, or of an endpoint."""
    if new.kind in _JOBS:
        before = {} if old is None else old.document["described"]
        yield from _job_changes(_JOBS[new.kind], before, new.document["described"])
    elif new.kind == "endpoint" and (old is None or old.status != new.status):
        yield endpoint_change(new, new.status)


def endpoint_change(record: ResourceRecord, status: str) -> Change:
    """The event of an endpoint that has come to `status` (``InService``; ``IN_SERVICE`` there)."""
    plan = record.document.get("plan", {})
    return Change(
        "SageMaker Endpoint State Change",
        (record.arn,),
        _present(
            {
                "EndpointName": record.name,
                "EndpointArn": record.arn,
                "EndpointConfigName": plan.get("config_name"),
                "ProductionVariants": [
                    {
                        "VariantName": each["name"],
                        "DesiredWeight": each["weight"],
                        "DesiredInstanceCount": each["count"],
                    }
                    for each in plan.get("variants", ())
                ],
                "EndpointStatus": re.sub(r"(?<=[a-z])(?=[A-Z])", "_", status).upper(),
                "CreationTime": _milliseconds(record.created_at.timestamp()),
                "LastModifiedTime": _milliseconds(record.last_modified_at.timestamp()),
                "Tags": {},
            }
        ),
    )


def package_change(old: ModelPackageRecord | None, new: ModelPackageRecord) -> Change | None:
    """The event of a version that is new or has another approval; None of any other."""
    if old is not None and old.approval_status == new.approval_status:
        return None
    asked = {
        name: value
        for name, value in new.request.items()
        if name in ("InferenceSpecification", "MetadataProperties", "ModelMetrics")
    }
    return Change(
        "SageMaker Model Package State Change",
        (new.arn,),
        {
            "ModelPackageGroupName": new.group_name,
            "ModelPackageVersion": new.version,
            "ModelPackageArn": new.arn,
            "CreationTime": _iso(new.created_at),
            **asked,
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            "CertifyForMarketplace": new.request.get("CertifyForMarketplace", False),
            "ModelApprovalStatus": new.approval_status,
            "LastModifiedTime": _iso(new.last_modified_at),
        },
    )


def envelope(
    change: Change, *, event_id: str, account: str, region: str, at: datetime
) -> JsonObject:
    """The whole event, as a target gets it."""
    return {
        "version": "0",
        "id": event_id,
        "detail-type": change.detail_type,
        "source": SOURCE,
        "account": account,
        "time": _iso(at),
        "region": region,
        "resources": list(change.resources),
        "detail": change.detail,
    }


def _job_changes(kind: str, old: JsonObject, new: JsonObject) -> Iterator[Change]:
    status = f"{kind}JobStatus"
    members = (status, "SecondaryStatus") if kind == "Training" else (status,)
    if status in new and any(old.get(each) != new.get(each) for each in members):
        detail = {name: _job_value(kind, name, value) for name, value in new.items()}
        yield Change(
            f"SageMaker {kind} Job State Change", (new[f"{kind}JobArn"],), detail | {"Tags": {}}
        )


def _job_value(kind: str, name: str, value: Any) -> Any:
    if name.endswith("Time") and isinstance(value, int | float):
        if kind in _ISO_TIMES:
            return _iso(datetime.fromtimestamp(value, UTC))
        return str(round(value * 1000))
    return value


def _present(detail: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in detail.items() if value is not None}


def _lower_first(value: Any) -> Any:
    """The names of a structure as events have them: ``processingJob.arn``."""
    if isinstance(value, dict):
        return {name[:1].lower() + name[1:]: _lower_first(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_lower_first(each) for each in value]
    return value


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _milliseconds(seconds: float) -> float:
    return float(round(seconds * 1000))
