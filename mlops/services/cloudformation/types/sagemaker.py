"""AWS::SageMaker: Pipeline, Model, EndpointConfig, Endpoint, ModelPackageGroup, ModelPackage."""

from __future__ import annotations

from typing import Any, ClassVar

from mlops.ports import JsonObject
from mlops.services.cloudformation.schema import (
    DOCUMENT,
    STRING,
    Struct,
    of_operation,
)
from mlops.services.cloudformation.types.base import (
    ApiType,
    Aws,
    NotStable,
    changed,
    tag_changes,
)

_NO_PROPERTIES = (
    "AcceleratorPartitionLayouts",
    "AcceleratorType",
    "AdditionalModelDataSources",
    "AdditionalS3DataSource",
    "BaseModel",
    "ContainerMetricsConfig",
    "CrossRegionTrafficConfig",
    "DeploymentRecommendation",
    "ETag",
    "IsCheckpoint",
    "ManifestEtag",
    "ManifestS3Uri",
    "ModelDataETag",
    "ProductId",
    "TransformAmiVersion",
)
"""Members that the API has and CloudFormation, by its registry's schemas, does not."""


class SageMakerType(ApiType):
    service = "sagemaker"
    arn: ClassVar[str]
    """The member of the description that has its ARN."""

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        added, removed = tag_changes(old, new)
        if not added and not removed:
            return
        arn = self.describe(aws, name)[self.arn]
        if removed:
            aws.call("sagemaker", "DeleteTags", ResourceArn=arn, TagKeys=removed)
        if added:
            aws.call("sagemaker", "AddTags", ResourceArn=arn, Tags=added)


class Model(SageMakerType):
    type = "AWS::SageMaker::Model"
    operations = ("CreateModel", "DescribeModel", "DeleteModel")
    member = name_property = "ModelName"
    ref = arn = "ModelArn"
    attributes = ("ModelName", "ModelArn")
    described: ClassVar = {"ModelName": "ModelName", "ModelArn": "ModelArn"}
    replacing = (
        "ModelName",
        "PrimaryContainer",
        "Containers",
        "ExecutionRoleArn",
        "EnableNetworkIsolation",
        "InferenceExecutionConfig",
        "VpcConfig",
    )

    def properties(self) -> Struct:
        return of_operation("sagemaker", "CreateModel", without=_NO_PROPERTIES, required=())()


class EndpointConfig(SageMakerType):
    type = "AWS::SageMaker::EndpointConfig"
    operations = ("CreateEndpointConfig", "DescribeEndpointConfig", "DeleteEndpointConfig")
    member = name_property = "EndpointConfigName"
    ref = arn = "EndpointConfigArn"
    attributes = ("EndpointConfigName", "EndpointConfigArn")
    described: ClassVar = {
        "EndpointConfigName": "EndpointConfigName",
        "EndpointConfigArn": "EndpointConfigArn",
    }
    replacing = (
        "EndpointConfigName",
        "ProductionVariants",
        "ShadowProductionVariants",
        "DataCaptureConfig",
        "KmsKeyId",
        "AsyncInferenceConfig",
        "ExplainerConfig",
        "ExecutionRoleArn",
        "VpcConfig",
        "EnableNetworkIsolation",
        "MetricsConfig",
    )

    def properties(self) -> Struct:
        return of_operation(
            "sagemaker",
            "CreateEndpointConfig",
            without=_NO_PROPERTIES,
            required=("ProductionVariants",),
        )()


class Endpoint(SageMakerType):
    """Created and updated until it is InService; an update keeps serving until it has switched."""

    type = "AWS::SageMaker::Endpoint"
    operations = ("CreateEndpoint", "DescribeEndpoint", "DeleteEndpoint")
    member = name_property = "EndpointName"
    ref = arn = "EndpointArn"
    attributes = ("EndpointName", "EndpointArn")
    described: ClassVar = {"EndpointName": "EndpointName", "EndpointArn": "EndpointArn"}
    replacing = ("EndpointName",)
    not_sent = (
        "RetainAllVariantProperties",
        "ExcludeRetainedVariantProperties",
        "RetainDeploymentConfig",
    )
    _BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")

    def properties(self) -> Struct:
        update = of_operation("sagemaker", "UpdateEndpoint")().members
        return of_operation(
            "sagemaker",
            "CreateEndpoint",
            required=("EndpointConfigName",),
            more={name: update[name] for name in self.not_sent},
        )()

    def busy(self, aws: Aws, name: str) -> bool:
        return self.describe(aws, name)["EndpointStatus"] in self._BUSY

    def verify(self, aws: Aws, name: str, properties: JsonObject) -> None:
        described = self.describe(aws, name)
        wanted = properties["EndpointConfigName"]
        status = described["EndpointStatus"]
        if status == "InService" and described["EndpointConfigName"] == wanted:
            return
        reason = described.get("FailureReason", "no reason was given")
        serving = f" with {described['EndpointConfigName']}" if status == "InService" else ""
        raise NotStable(
            f"The endpoint {name} is {status}{serving}, not InService with {wanted}: {reason}"
        )

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        super().update(aws, name, old, new)
        wanted = new["EndpointConfigName"]
        described = self.describe(aws, name)
        serves = described["EndpointConfigName"] == wanted
        if serves and described["EndpointStatus"] == "InService":
            return
        options: Any = {key: new[key] for key in ("DeploymentConfig", *self.not_sent) if key in new}
        aws.call(
            "sagemaker",
            "UpdateEndpoint",
            EndpointName=name,
            EndpointConfigName=wanted,
            **self.schema.request(options),
        )


class Pipeline(SageMakerType):
    type = "AWS::SageMaker::Pipeline"
    operations = ("CreatePipeline", "DescribePipeline", "DeletePipeline")
    member = name_property = "PipelineName"
    arn = "PipelineArn"
    replacing = ("PipelineName",)
    longest_name = 256

    def properties(self) -> Struct:
        location = Struct(
            {"Bucket": STRING, "Key": STRING, "Version": STRING, "ETag": STRING},
            ("Bucket", "Key"),
        )
        definition = Struct(
            {"PipelineDefinitionBody": STRING, "PipelineDefinitionS3Location": location}
        )
        return of_operation(
            "sagemaker",
            "CreatePipeline",
            without=(
                "PipelineDefinitionS3Location",
                "ClientRequestToken",
                "PipelineVersionAliases",
            ),
            more={"PipelineDefinition": definition},
            required=("PipelineName", "PipelineDefinition", "RoleArn"),
        )()

    def request(self, properties: JsonObject) -> JsonObject:
        made = super().request(properties)
        given = made.pop("PipelineDefinition")
        if "PipelineDefinitionBody" in given:
            made["PipelineDefinition"] = given["PipelineDefinitionBody"]
        location = given.get("PipelineDefinitionS3Location")
        if location is not None:
            made["PipelineDefinitionS3Location"] = {
                "Bucket": location["Bucket"],
                "ObjectKey": location["Key"],
                **({"VersionId": location["Version"]} if "Version" in location else {}),
            }
        return made

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        aws.call(
            "sagemaker", "CreatePipeline", **self.request(properties), ClientRequestToken=token
        )
        return name

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        super().update(aws, name, old, new)
        request = {k: v for k, v in self.request(new).items() if k != "Tags"}
        aws.call("sagemaker", "UpdatePipeline", **request)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        # Its own token: a deletion that is repeated finds nothing any more, which is success.
        aws.call(
            "sagemaker",
            "DeletePipeline",
            PipelineName=name,
            ClientRequestToken=f"cloudformation-delete-{name}"[:128].ljust(32, "-"),
        )


class ModelPackageGroup(SageMakerType):
    type = "AWS::SageMaker::ModelPackageGroup"
    operations = (
        "CreateModelPackageGroup",
        "DescribeModelPackageGroup",
        "DeleteModelPackageGroup",
    )
    member = name_property = "ModelPackageGroupName"
    ref = arn = "ModelPackageGroupArn"
    attributes = ("ModelPackageGroupArn", "ModelPackageGroupStatus", "CreationTime")
    described: ClassVar = {
        "ModelPackageGroupArn": "ModelPackageGroupArn",
        "ModelPackageGroupStatus": "ModelPackageGroupStatus",
        "CreationTime": "CreationTime",
    }
    replacing = ("ModelPackageGroupName", "ModelPackageGroupDescription")
    not_sent = ("ModelPackageGroupPolicy",)

    def properties(self) -> Struct:
        return of_operation(
            "sagemaker",
            "CreateModelPackageGroup",
            without=("ManagedConfiguration",),
            more={"ModelPackageGroupPolicy": DOCUMENT},
            required=("ModelPackageGroupName",),
        )()

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        policy = properties.get("ModelPackageGroupPolicy")
        if policy is not None:
            aws.call(
                "sagemaker",
                "PutModelPackageGroupPolicy",
                ModelPackageGroupName=name,
                ResourcePolicy=DOCUMENT.request(policy),
            )

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        super().update(aws, name, old, new)
        if changed("ModelPackageGroupPolicy", old, new):
            if "ModelPackageGroupPolicy" in new:
                self.settle(aws, name, new)
            else:
                aws.call("sagemaker", "DeleteModelPackageGroupPolicy", ModelPackageGroupName=name)


class ModelPackage(SageMakerType):
    """A version of a group. The service gives it its ARN, which is what it is called here.

    A version has its group's tags: those of the stack are not given to it.
    """

    type = "AWS::SageMaker::ModelPackage"
    operations = ("CreateModelPackage", "DescribeModelPackage", "DeleteModelPackage")
    member = "ModelPackageName"
    arn = "ModelPackageArn"
    tagged = False
    not_sent = ("ApprovalDescription",)
    attributes = ("ModelPackageArn", "ModelPackageStatus", "CreationTime")
    described: ClassVar = {
        "ModelPackageArn": "ModelPackageArn",
        "ModelPackageStatus": "ModelPackageStatus",
        "CreationTime": "CreationTime",
    }
    not_here = (
        "AdditionalInferenceSpecificationsToAdd",
        "ClientToken",
        "ModelPackageName",
        "ModelPackageVersion",
    )
    _UPDATED = ("ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties")

    @property
    def replacing(self) -> tuple[str, ...]:  # type: ignore[override]  # all but a few
        return tuple(name for name in self.schema.members if name not in (*self._UPDATED, "Tags"))

    def properties(self) -> Struct:
        update = of_operation("sagemaker", "UpdateModelPackage")().members
        return of_operation(
            "sagemaker",
            "CreateModelPackage",
            without=(
                *_NO_PROPERTIES,
                "ClientToken",
                "ModelPackageName",
                "ModelLifeCycle",
                "ManagedStorageType",
                "ModelPackageRegistrationType",
            ),
            more={"ApprovalDescription": update["ApprovalDescription"]},
            required=("ModelPackageGroupName",),
        )()

    def exists(self, aws: Aws, name: str) -> bool:
        return name.startswith("arn:") and super().exists(aws, name)

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        answer = aws.call(
            "sagemaker", "CreateModelPackage", **self.request(properties), ClientToken=token
        )
        arn: str = answer["ModelPackageArn"]
        return arn

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        description = properties.get("ApprovalDescription")
        if description is not None:
            aws.call(
                "sagemaker",
                "UpdateModelPackage",
                ModelPackageArn=name,
                ApprovalDescription=description,
            )

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        super().update(aws, name, old, new)
        request = {key: new[key] for key in self._UPDATED if key in new and changed(key, old, new)}
        gone = set(old.get("CustomerMetadataProperties", {})) - set(
            new.get("CustomerMetadataProperties", {})
        )
        if gone:
            request["CustomerMetadataPropertiesToRemove"] = sorted(gone)
        if request:
            aws.call("sagemaker", "UpdateModelPackage", ModelPackageArn=name, **request)
