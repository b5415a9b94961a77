"""Real stores in a temporary folder, and the fake runtime: executions end in milliseconds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mlops.errors import ServiceError
from mlops.execution import ExecutionManager
from mlops.ports import ExecutionRecord, JsonObject, PipelineRecord, StepRecord
from mlops.runtimes.fake import Script
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore
from mlops.stores.state import SqliteStateStore

REGION, ACCOUNT = "us-east-1", "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/mlops-execution"
BUCKET = "bucket"
SUCCEEDS = Script()
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/image:latest"


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class RecordingRegistry:
    """Answers as the service does, and remembers what it was asked."""

    requests: list[JsonObject] = field(default_factory=list)
    refusal: str | None = None

    def register(self, request: JsonObject) -> JsonObject:
        self._take(request)
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/group/1"
        return {
            "ModelPackageArn": arn,
            "ModelPackageGroupName": request["ModelPackageGroupName"],
            "ModelPackageVersion": 1,
            "ModelApprovalStatus": request.get("ModelApprovalStatus", "PendingManualApproval"),
            "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        }

    def create_model(self, request: JsonObject) -> JsonObject:
        self._take(request)
        arn = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model/{request['ModelName'].lower()}"
        return {"ModelName": request["ModelName"], "ModelArn": arn}

    def _take(self, request: JsonObject) -> None:
        if self.refusal is not None:
            raise ServiceError("ValidationException", self.refusal)
        self.requests.append(request)


@dataclass
class House:
    """Everything that an execution touches."""

    settings: Settings
    objects: FileObjectStore
    state: SqliteStateStore
    runtime: Any
    registry: RecordingRegistry
    manager: ExecutionManager

    def pipeline(self, *steps: JsonObject, name: str = "p", **top: Any) -> PipelineRecord:
        definition = {"Version": "2020-12-01", "Steps": list(steps), **top}
        now = datetime.now(UTC)
        record = PipelineRecord(
            name=name,
            arn=f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{name}",
            definition=json.dumps(definition),
            role_arn=ROLE,
            created_at=now,
            last_modified_at=now,
        )
        self.state.put_pipeline(record)
        return record

    def start(self, *steps: JsonObject, **top: Any) -> ExecutionRecord:
        parameters: Mapping[str, str] = top.pop("given", {})
        return self.manager.start(self.pipeline(*steps, **top), parameters=parameters)

    def run(self, *steps: JsonObject, timeout: float = 30.0, **top: Any) -> ExecutionRecord:
        return self.end_of(self.start(*steps, **top), timeout)

    def end_of(self, execution: ExecutionRecord, timeout: float = 20.0) -> ExecutionRecord:
        ended = self.manager.wait(execution.arn, timeout)
        assert ended is not None, "the execution did not end"
        return ended

    def steps(self, execution: ExecutionRecord) -> dict[str, StepRecord]:
        return {step.name: step for step in self.state.list_steps(execution.arn)}

    def put(self, key: str, text: str = "x") -> str:
        self.objects.put(BUCKET, key, text.encode())
        return f"s3://{BUCKET}/{key}"

    def text(self, uri: str) -> str:
        with self.objects.open(BUCKET, uri.removeprefix(f"s3://{BUCKET}/")) as file:
            return file.read().decode()

    def object_keys(self, prefix: str = "") -> list[str]:
        return [info.key for info in self.objects.list(BUCKET, prefix)]


Build = Callable[..., House]


def processing(name: str = "Process", **changes: Any) -> JsonObject:
    """A Processing step; `changes` go into its Arguments."""
    members = {key: changes.pop(key) for key in ("DependsOn", "PropertyFiles") if key in changes}
    arguments = {
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "script.py"]},
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceType": "ml.m5.large",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
            }
        },
        "RoleArn": ROLE,
    }
    return {"Name": name, "Type": "Processing", "Arguments": arguments | changes, **members}


def processing_input(uri: Any, place: str = "data", **changes: Any) -> JsonObject:
    source = {
        "S3Uri": uri,
        "LocalPath": f"/opt/ml/processing/input/{place}",
        "S3DataType": "S3Prefix",
        "S3InputMode": "File",
        "S3DataDistributionType": "FullyReplicated",
        "S3CompressionType": "None",
    }
    return {"InputName": place.replace("/", "-"), "AppManaged": False, "S3Input": source | changes}


def processing_outputs(**uris: str) -> JsonObject:
    """Outputs by name, each at ``/opt/ml/processing/output/<name>``."""
    return {
        "Outputs": [
            {
                "OutputName": name,
                "AppManaged": False,
                "S3Output": {
                    "S3Uri": uri,
                    "LocalPath": f"/opt/ml/processing/output/{name}",
                    "S3UploadMode": "EndOfJob",
                },
            }
            for name, uri in uris.items()
        ]
    }


def training(name: str = "Train", **changes: Any) -> JsonObject:
    """A Training step; `changes` go into its Arguments."""
    members = {key: changes.pop(key) for key in ("DependsOn",) if key in changes}
    arguments = {
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/out"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 30,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        "RoleArn": ROLE,
    }
    return {"Name": name, "Type": "Training", "Arguments": arguments | changes, **members}


def channel(name: str, uri: Any, **changes: Any) -> JsonObject:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}, **changes}
