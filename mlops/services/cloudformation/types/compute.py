"""AWS::Lambda::Function, AWS::Events::Rule, AWS::SQS::Queue, AWS::Logs::LogGroup."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any, ClassVar

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.schema import (
    DOCUMENT,
    INTEGER,
    STRING,
    TAGS,
    Struct,
    of_operation,
)
from mlops.services.cloudformation.types.base import (
    ApiType,
    Aws,
    Made,
    NotStable,
    as_map,
    changed,
    found,
    tag_changes,
)


class Function(ApiType):
    """Code that is text in the template becomes the file ``index.py`` of a zip (the reference of
    AWS::Lambda::Function Code, ``ZipFile``; Python is what runs here).
    """

    type = "AWS::Lambda::Function"
    service = "lambda"
    operations = ("CreateFunction", "GetFunction", "DeleteFunction")
    member = name_property = "FunctionName"
    replacing = ("FunctionName", "PackageType")
    attributes = ("Arn",)
    longest_name = 64
    not_here = (
        "FunctionScalingConfig",
        "PublishToLatestPublished",
        "RecursiveLoop",
        "ReservedConcurrentExecutions",
        "RuntimeManagementConfig",
    )
    _DEFAULTS: ClassVar[JsonObject] = {
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "Environment": {"Variables": {}},
    }
    """What a property that has been removed goes back to (botocore lambda CreateFunction)."""

    def properties(self) -> Struct:
        code = Struct(
            dict.fromkeys(("ImageUri", "S3Bucket", "S3Key", "S3ObjectVersion", "ZipFile"), STRING)
        )
        return of_operation(
            "lambda",
            "CreateFunction",
            without=("AcceleratorConfig", "Publish", "PublishTo", "RuntimeConfig"),
            more={"Code": code, "Tags": TAGS},
            required=("Code", "Role"),
            names={"KmsKeyArn": "KMSKeyArn"},
        )()

    def request(self, properties: JsonObject) -> JsonObject:
        made = super().request(properties)
        made["Code"] = _code(properties["Code"])
        if "Tags" in made:
            made["Tags"] = as_map(made["Tags"])
        return made

    def busy(self, aws: Aws, name: str) -> bool:
        state = self.describe(aws, name)["Configuration"]
        return bool(
            state.get("State") == "Pending" or state.get("LastUpdateStatus") == "InProgress"
        )

    def verify(self, aws: Aws, name: str, properties: JsonObject) -> None:
        state = self.describe(aws, name)["Configuration"]
        if "Failed" in (state.get("State"), state.get("LastUpdateStatus")):
            raise NotStable(
                state.get("StateReason") or state.get("LastUpdateStatusReason") or "it has failed"
            )

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        arn = self.describe(aws, name)["Configuration"]["FunctionArn"]
        return Made(name, {"Arn": arn})

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        request = self.request(new)
        if changed("Code", old, new) or changed("Architectures", old, new):
            architectures = {k: v for k, v in request.items() if k == "Architectures"}
            aws.call(
                "lambda",
                "UpdateFunctionCode",
                FunctionName=name,
                **request["Code"],
                **architectures,
            )
        elsewhere = ("Code", "Tags", "FunctionName", "PackageType", "Architectures")
        wanted = {k: v for k, v in request.items() if k not in elsewhere}
        removed = {k: v for k, v in self._DEFAULTS.items() if k in old and k not in new}
        aws.call(
            "lambda", "UpdateFunctionConfiguration", FunctionName=name, **{**removed, **wanted}
        )
        added, gone = tag_changes(old, new)
        arn = self.read(aws, name, new).attributes["Arn"]
        if gone:
            aws.call("lambda", "UntagResource", Resource=arn, TagKeys=gone)
        if added:
            aws.call("lambda", "TagResource", Resource=arn, Tags=as_map(added))


def _code(code: JsonObject) -> JsonObject:
    if "ZipFile" not in code:
        return dict(code)
    packed = io.BytesIO()
    # The same text is the same zip: no moment goes into it.
    entry = zipfile.ZipInfo("index.py", (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o644 << 16
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(entry, code["ZipFile"])
    return {"ZipFile": packed.getvalue()}


class Rule(ApiType):
    """``Ref`` is the rule's name: there is one event bus here, the default one."""

    type = "AWS::Events::Rule"
    service = "events"
    operations = ("PutRule", "DescribeRule", "DeleteRule")
    member = name_property = "Name"
    replacing = ("Name", "EventBusName")
    attributes = ("Arn",)
    described: ClassVar = {"Arn": "Arn"}
    not_sent = ("Targets",)
    longest_name = 64

    def properties(self) -> Struct:
        targets = of_operation("events", "PutTargets")().members["Targets"]
        return of_operation(
            "events",
            "PutRule",
            more={"EventPattern": DOCUMENT, "Targets": targets},
            required=(),
        )()

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        targets = properties.get("Targets") or []
        if not targets:
            return
        answer = aws.call("events", "PutTargets", Rule=name, Targets=targets)
        for failed in answer.get("FailedEntries", []):
            raise ServiceError(
                failed.get("ErrorCode", "InternalException"),
                f"The target {failed.get('TargetId')} was not set: {failed.get('ErrorMessage')}",
            )

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        request = {k: v for k, v in self.request(new).items() if k != "Tags"}
        aws.call("events", "PutRule", **{**request, "Name": name})
        wanted = {target["Id"] for target in new.get("Targets") or []}
        self._remove_targets(aws, name, keep=wanted)
        self.settle(aws, name, new)
        added, gone = tag_changes(old, new)
        arn = self.describe(aws, name)["Arn"]
        if gone:
            aws.call("events", "UntagResource", ResourceARN=arn, TagKeys=gone)
        if added:
            aws.call("events", "TagResource", ResourceARN=arn, Tags=added)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        self._remove_targets(aws, name, keep=set())
        super().delete(aws, name, properties)

    def _remove_targets(self, aws: Aws, name: str, keep: set[str]) -> None:
        listed = aws.call("events", "ListTargetsByRule", Rule=name).get("Targets", [])
        gone = [target["Id"] for target in listed if target["Id"] not in keep]
        if gone:
            aws.call("events", "RemoveTargets", Rule=name, Ids=gone)


class Queue(ApiType):
    """A standard queue; ``Ref`` is its URL."""

    type = "AWS::SQS::Queue"
    service = "sqs"
    operations = ("CreateQueue", "GetQueueUrl", "DeleteQueue")
    member = name_property = "QueueName"
    replacing = ("QueueName", "FifoQueue")
    attributes = ("Arn", "QueueName", "QueueUrl")
    longest_name = 80
    _NUMBERS = (
        "DelaySeconds",
        "MaximumMessageSize",
        "MessageRetentionPeriod",
        "ReceiveMessageWaitTimeSeconds",
        "VisibilityTimeout",
        "KmsDataKeyReusePeriodSeconds",
    )
    _TEXTS = (
        "ContentBasedDeduplication",
        "DeduplicationScope",
        "FifoQueue",
        "FifoThroughputLimit",
        "KmsMasterKeyId",
        "SqsManagedSseEnabled",
    )
    _DOCUMENTS = ("RedrivePolicy", "RedriveAllowPolicy")

    def properties(self) -> Struct:
        return Struct(
            {
                "QueueName": STRING,
                "Tags": TAGS,
                **dict.fromkeys(self._NUMBERS, INTEGER),
                **dict.fromkeys(self._TEXTS, STRING),
                **dict.fromkeys(self._DOCUMENTS, DOCUMENT),
            }
        )

    def request(self, properties: JsonObject) -> JsonObject:
        tags = properties.get("Tags") or []
        attributes = _queue_attributes(self.schema.request(properties))
        return {
            **({"Attributes": attributes} if attributes else {}),
            **({"tags": as_map(tags)} if tags else {}),
        }

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        url = self._url(aws, name)
        attributes = aws.call(
            "sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["QueueArn"]
        )
        return Made(
            url,
            {"Arn": attributes["Attributes"]["QueueArn"], "QueueName": name, "QueueUrl": url},
        )

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        url = self._url(aws, name)
        before, after = (_queue_attributes(self.schema.request(each)) for each in (old, new))
        if before != after:
            aws.call("sqs", "SetQueueAttributes", QueueUrl=url, Attributes=after)
        added, gone = tag_changes(old, new)
        if gone:
            aws.call("sqs", "UntagQueue", QueueUrl=url, TagKeys=gone)
        if added:
            aws.call("sqs", "TagQueue", QueueUrl=url, Tags=as_map(added))

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        aws.call("sqs", "DeleteQueue", QueueUrl=self._url(aws, name))

    def _url(self, aws: Aws, name: str) -> str:
        url: str = self.describe(aws, name)["QueueUrl"]
        return url


def _queue_attributes(request: JsonObject) -> dict[str, str]:
    """A queue's attributes are text, all of them."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in request.items()
        if name not in ("QueueName", "Tags")
    }


class LogGroup(ApiType):
    type = "AWS::Logs::LogGroup"
    service = "logs"
    operations = ("CreateLogGroup", "DescribeLogGroups", "DeleteLogGroup")
    member = "logGroupName"
    name_property = "LogGroupName"
    replacing = ("LogGroupName",)
    attributes = ("Arn",)
    longest_name = 512
    not_sent = ("RetentionInDays", "LogGroupName")
    not_here = (
        "BearerTokenAuthenticationEnabled",
        "DataProtectionPolicy",
        "DeletionProtectionEnabled",
        "FieldIndexPolicies",
        "ResourcePolicyDocument",
    )

    def properties(self) -> Struct:
        return of_operation(
            "logs",
            "CreateLogGroup",
            more={"RetentionInDays": INTEGER, "Tags": TAGS},
            required=(),
            capitals=True,
            without=("DeletionProtectionEnabled",),
        )()

    def request(self, properties: JsonObject) -> JsonObject:
        made = super().request(properties)
        tags = made.pop("tags", [])
        return {**made, **({"tags": as_map(tags)} if tags else {})}

    def describe(self, aws: Aws, name: str) -> JsonObject:
        answer = aws.call("logs", "DescribeLogGroups", logGroupNamePrefix=name)
        for group in answer["logGroups"]:
            if group["logGroupName"] == name:
                described: JsonObject = group
                return described
        raise ServiceError("ResourceNotFoundException", "The specified log group does not exist.")

    def exists(self, aws: Aws, name: str) -> bool:
        return found(lambda: self.describe(aws, name))

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        days: Any = properties.get("RetentionInDays")
        if days is not None:
            aws.call("logs", "PutRetentionPolicy", logGroupName=name, retentionInDays=days)

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        return Made(name, {"Arn": self.describe(aws, name)["arn"]})

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        if "RetentionInDays" in old and "RetentionInDays" not in new:
            aws.call("logs", "DeleteRetentionPolicy", logGroupName=name)
        self.settle(aws, name, new)
        added, gone = tag_changes(old, new)
        arn = self.describe(aws, name)["arn"].removesuffix(":*")
        if gone:
            aws.call("logs", "UntagResource", resourceArn=arn, tagKeys=gone)
        if added:
            aws.call("logs", "TagResource", resourceArn=arn, tags=as_map(added))
