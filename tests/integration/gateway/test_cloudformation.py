"""CloudFormation through boto3: stacks whose resources are there, or are refused by name."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from mlops.app import compose_gateway
from mlops.gateway.client import GatewayClient
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeContainer, FakeRuntime
from mlops.runtimes.fake_model import FakeModelServer, Reply
from mlops.settings import Settings

Aws = Callable[..., Any]
OFTEN = {"Delay": 1, "MaxAttempts": 120}
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/mlops-tensorflow:latest"
SERVING = f"""
Description: a model that is served
Parameters:
  Factor: {{Type: String, Default: '2', AllowedPattern: '[a-z0-9]+'}}
Resources:
  Model:
    Type: AWS::SageMaker::Model
    Properties:
      ExecutionRoleArn: !Sub 'arn:aws:iam::${{AWS::AccountId}}:role/mlops-execution'
      PrimaryContainer: {{Image: '{IMAGE}', Environment: {{FACTOR: !Ref Factor}}}}
  Config:
    Type: AWS::SageMaker::EndpointConfig
    Properties:
      ProductionVariants:
        - VariantName: AllTraffic
          ModelName: !GetAtt Model.ModelName
          InitialInstanceCount: 1
          InitialVariantWeight: 1
          InstanceType: ml.m5.large
  Endpoint:
    Type: AWS::SageMaker::Endpoint
    Properties:
      EndpointName: e
      EndpointConfigName: !GetAtt Config.EndpointConfigName
Outputs:
  Endpoint: {{Value: !GetAtt Endpoint.EndpointName, Export: {{Name: the-endpoint}}}}
"""


def predict(container: FakeContainer, body: bytes, headers: Any) -> Reply:
    factor = container.job.environment.get("FACTOR", "")
    if factor == "broken":
        return Reply(b"no", status=500)
    return Reply(factor.encode(), headers={"Content-Type": "text/csv"})


class Server(FakeModelServer):
    """Comes up at once; never for the factor ``broken``, late for ``late``."""

    def __init__(self) -> None:
        super().__init__(predict)
        self.reached, self.go = threading.Event(), threading.Event()

    def __call__(self, container: FakeContainer) -> int | None:
        factor = container.job.environment.get("FACTOR")
        if factor == "broken":
            container.print("the model cannot be read")
            return 1
        if factor == "late":
            self.reached.set()
            while not self.go.wait(0.05):
                if container.terminated.is_set():
                    return 143
        return super().__call__(container)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.go.set()


@pytest.fixture
def runtime(server: Server) -> Iterator[FakeRuntime]:
    made = FakeRuntime(server)
    yield made
    server.go.set()
    made.remove_leftovers({})


class Stacks:
    """A client, and short ways to wait."""

    def __init__(self, aws: Aws) -> None:
        self.client = aws("cloudformation")

    def create(self, body: Any, name: str = "s", **more: Any) -> dict[str, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        stack: str = self.client.create_stack(StackName=name, TemplateBody=text, **more)["StackId"]
        return self.rested(stack)

    def update(self, body: Any = None, name: str = "s", **more: Any) -> dict[str, Any]:
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        given = {"UsePreviousTemplate": True} if text is None else {"TemplateBody": text}
        self.client.update_stack(StackName=name, **given, **more)
        return self.rested(name)

    def delete(self, name: str = "s") -> dict[str, Any]:
        stack: str = self.describe(name)["StackId"]
        self.client.delete_stack(StackName=name)
        return self.rested(stack)

    def describe(self, name: str = "s") -> dict[str, Any]:
        (stack,) = self.client.describe_stacks(StackName=name)["Stacks"]
        found: dict[str, Any] = stack
        return found

    def rested(self, name: str = "s") -> dict[str, Any]:
        deadline = time.monotonic() + 90
        while (stack := self.describe(name))["StackStatus"].endswith("_IN_PROGRESS"):
            assert time.monotonic() < deadline, stack
        return stack

    def reasons(self, name: str = "s") -> dict[tuple[str, str], str]:
        pages = self.client.get_paginator("describe_stack_events").paginate(StackName=name)
        return {
            (e["LogicalResourceId"], e["ResourceStatus"]): e.get("ResourceStatusReason", "")
            for page in pages
            for e in page["StackEvents"]
            if e["ResourceType"] != "AWS::CloudFormation::Stack"
        }

    def failures(self, name: str = "s") -> dict[str, str]:
        reasons = self.reasons(self.describe(name)["StackId"])
        return {key: reason for (key, status), reason in reasons.items() if "FAILED" in status}

    def physical(self, logical_id: str, name: str = "s") -> str:
        found = self.client.describe_stack_resource(StackName=name, LogicalResourceId=logical_id)
        physical: str = found["StackResourceDetail"]["PhysicalResourceId"]
        return physical


@pytest.fixture
def stacks(aws: Aws) -> Stacks:
    return Stacks(aws)


def refused(act: Callable[[], Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        act()
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def invoked(aws: Aws) -> bytes:
    body: bytes = (
        aws("sagemaker-runtime").invoke_endpoint(EndpointName="e", Body=b"1")["Body"].read()
    )
    return body


# --- endpoints ---


def test_an_endpoint_from_its_creation_to_its_deletion(stacks: Stacks, aws: Aws) -> None:
    stack = stacks.create(SERVING, Tags=[{"Key": "team", "Value": "x"}])
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failures()
    assert stack["Outputs"] == [
        {"OutputKey": "Endpoint", "OutputValue": "e", "ExportName": "the-endpoint"}
    ]
    assert stack["Description"] == "a model that is served"
    assert invoked(aws) == b"2"
    sagemaker = aws("sagemaker")
    tags = sagemaker.list_tags(ResourceArn=stacks.physical("Model"))["Tags"]
    assert tags == [{"Key": "team", "Value": "x"}]
    old = stacks.physical("Config")

    stop, answers = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            answers.append(invoked(aws))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        updated = stacks.update(Parameters=[{"ParameterKey": "Factor", "ParameterValue": "3"}])
    finally:
        stop.set()
        asking.join(60)
    assert updated["StackStatus"] == "UPDATE_COMPLETE", stacks.failures()
    assert set(answers) <= {b"2", b"3"}
    assert invoked(aws) == b"3"
    assert stacks.physical("Config") != old
    assert len(sagemaker.list_endpoint_configs()["EndpointConfigs"]) == 1
    assert len(sagemaker.list_models()["Models"]) == 1

    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"
    for listed in ("list_models", "list_endpoint_configs", "list_endpoints"):
        (found,) = (v for k, v in getattr(sagemaker, listed)().items() if k != "ResponseMetadata")
        assert found == []


def test_an_endpoint_that_does_not_come_up_is_rolled_back(stacks: Stacks, aws: Aws) -> None:
    broken = [{"ParameterKey": "Factor", "ParameterValue": "broken"}]
    stack = stacks.create(SERVING, Parameters=broken)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "is Failed, not InService" in stacks.reasons()["Endpoint", "CREATE_FAILED"]
    assert aws("sagemaker").list_models()["Models"] == []
    stacks.delete()

    stacks.create(SERVING)
    stack = stacks.update(Parameters=broken)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert invoked(aws) == b"2"
    assert len(aws("sagemaker").list_endpoint_configs()["EndpointConfigs"]) == 1


def test_the_next_gateway_takes_a_stack_up(
    settings: Settings, runtime: FakeRuntime, server: Server
) -> None:
    def client(service: str, url: str) -> Any:
        session = boto3.Session("any", "thing", region_name="us-east-1")
        return session.client(service, endpoint_url=url)

    late = [{"ParameterKey": "Factor", "ParameterValue": "late"}]
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        first = client("cloudformation", url)
        first.create_stack(StackName="s", TemplateBody=SERVING, Parameters=late)
        assert server.reached.wait(60)
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        second = client("cloudformation", url)
        (stack,) = second.list_stacks()["StackSummaries"]
        assert stack["StackStatus"] == "CREATE_IN_PROGRESS"
        server.go.set()
        second.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig=OFTEN)
        runtime_client = client("sagemaker-runtime", url)
        assert runtime_client.invoke_endpoint(EndpointName="e", Body=b"1")["Body"].read() == b"late"
        assert len(client("sagemaker", url).list_models()["Models"]) == 1


def test_a_reset_ends_a_stack_on_its_way(
    tmp_path: Path, runtime: FakeRuntime, server: Server
) -> None:
    settings = Settings(store=tmp_path / "store", allow_reset=True)
    late = [{"ParameterKey": "Factor", "ParameterValue": "late"}]
    with GatewayThread(compose_gateway(settings, runtime)) as url:
        session = boto3.Session("any", "thing", region_name="us-east-1")
        client = session.client("cloudformation", endpoint_url=url)
        client.create_stack(StackName="s", TemplateBody=SERVING, Parameters=late)
        assert server.reached.wait(60)
        GatewayClient(url).reset(settings.store)
        assert client.list_stacks()["StackSummaries"] == []


# --- the other types ---


OTHERS = {
    "Parameters": {"Retention": {"Type": "Number", "Default": 60}},
    "Resources": {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "VersioningConfiguration": {"Status": "Enabled"},
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [
                        {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
                    ]
                },
                "PublicAccessBlockConfiguration": {"BlockPublicAcls": "true"},
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "old",
                            "Status": "Enabled",
                            "ExpirationInDays": 30,
                            "Prefix": "tmp/",
                            "TagFilters": [{"Key": "a", "Value": "b"}],
                        }
                    ]
                },
            },
        },
        "Policy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {
                "Bucket": {"Ref": "Bucket"},
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Deny",
                            "Principal": "*",
                            "Action": "s3:*",
                            "Resource": {"Fn::Sub": "${Bucket.Arn}/*"},
                            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                        }
                    ],
                },
            },
        },
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"MessageRetentionPeriod": {"Ref": "Retention"}},
        },
        "Rule": {
            "Type": "AWS::Events::Rule",
            "Properties": {
                "EventPattern": {"source": ["mine"]},
                "Targets": [{"Id": "q", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}],
            },
        },
        "Group": {
            "Type": "AWS::SageMaker::ModelPackageGroup",
            "Properties": {"ModelPackageGroupName": "g", "ModelPackageGroupDescription": "d"},
        },
        "Package": {
            "Type": "AWS::SageMaker::ModelPackage",
            "Properties": {
                "ModelPackageGroupName": {"Ref": "Group"},
                "ModelApprovalStatus": "PendingManualApproval",
                "InferenceSpecification": {
                    "Containers": [{"Image": IMAGE}],
                    "SupportedContentTypes": ["text/csv"],
                    "SupportedResponseMIMETypes": ["text/csv"],
                },
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.11",
                "Handler": "index.handler",
                "Role": {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/r"},
                "Timeout": 9,
                "Code": {"ZipFile": "def handler(event, context):\n    return event\n"},
                "Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}},
            },
        },
    },
    "Outputs": {"Queue": {"Value": {"Ref": "Queue"}}, "Package": {"Value": {"Ref": "Package"}}},
}


def test_the_other_types(stacks: Stacks, aws: Aws, lab: SimpleNamespace) -> None:
    template = json.loads(json.dumps(OTHERS))
    template["Resources"]["Pipeline"] = {
        "Type": "AWS::SageMaker::Pipeline",
        "Properties": {
            "PipelineName": "p",
            "RoleArn": lab.role,
            "PipelineDefinition": {"PipelineDefinitionBody": lab.definition()},
            "ParallelismConfiguration": {"MaxParallelExecutionSteps": 2},
        },
    }
    stack = stacks.create(template, Tags=[{"Key": "team", "Value": "x"}])
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failures()

    s3, bucket = aws("s3"), stacks.physical("Bucket")
    assert bucket.startswith("s-bucket-")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "x"}]
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["Filter"] == {"And": {"Prefix": "tmp/", "Tags": [{"Key": "a", "Value": "b"}]}}
    assert rule["Expiration"] == {"Days": 30}
    policy = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])
    assert policy["Statement"][0]["Resource"] == f"arn:aws:s3:::{bucket}/*"

    events, queue = aws("events"), stack["Outputs"][0]["OutputValue"]
    events.put_events(Entries=[{"Source": "mine", "DetailType": "t", "Detail": "{}"}])
    assert aws("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]

    sagemaker, package = aws("sagemaker"), stack["Outputs"][1]["OutputValue"]
    pipeline = sagemaker.describe_pipeline(PipelineName="p")
    assert pipeline["ParallelismConfiguration"] == {"MaxParallelExecutionSteps": 2}
    function = aws("lambda").get_function(FunctionName=stacks.physical("Function"))
    assert function["Configuration"]["Timeout"] == 9
    assert function["Configuration"]["Environment"]["Variables"] == {"QUEUE": queue}

    resources = template["Resources"]
    resources["Bucket"]["Properties"]["VersioningConfiguration"]["Status"] = "Suspended"
    del resources["Bucket"]["Properties"]["LifecycleConfiguration"]
    resources["Package"]["Properties"]["ModelApprovalStatus"] = "Approved"
    resources["Function"]["Properties"]["Timeout"] = 7
    resources["Pipeline"]["Properties"]["ParallelismConfiguration"] = {
        "MaxParallelExecutionSteps": 3
    }
    resources["Rule"]["Properties"]["State"] = "DISABLED"
    resources["Rule"]["Properties"]["Targets"] = []
    updated = stacks.update(template)
    assert updated["StackStatus"] == "UPDATE_COMPLETE", stacks.failures()
    assert stacks.physical("Bucket") == bucket
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    assert refused(lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket))[0] == (
        "NoSuchLifecycleConfiguration"
    )
    approved = sagemaker.describe_model_package(ModelPackageName=package)
    assert approved["ModelApprovalStatus"] == "Approved"
    rule = events.describe_rule(Name=stacks.physical("Rule"))
    assert rule["State"] == "DISABLED"

    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    stack_id = updated["StackId"]
    assert stacks.delete()["StackStatus"] == "DELETE_FAILED"
    assert "BucketNotEmpty" in stacks.reasons(stack_id)["Bucket", "DELETE_FAILED"]
    for version in s3.list_object_versions(Bucket=bucket)["Versions"]:
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version["VersionId"])
    stacks.client.delete_stack(StackName="s")
    assert stacks.rested(stack_id)["StackStatus"] == "DELETE_COMPLETE"
    assert s3.list_buckets()["Buckets"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []


DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}],
}


def identities(value: str) -> dict[str, Any]:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "sagemaker.amazonaws.com"},
            }
        ],
    }
    return {
        "Resources": {
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": trust,
                    "Description": value,
                    "Policies": [{"PolicyName": value, "PolicyDocument": DOCUMENT}],
                    "ManagedPolicyArns": [{"Ref": "Managed"}],
                },
            },
            "Inline": {
                "Type": "AWS::IAM::Policy",
                "Properties": {
                    "PolicyName": "more",
                    "PolicyDocument": DOCUMENT,
                    "Roles": [{"Ref": "Role"}],
                },
            },
            "Managed": {
                "Type": "AWS::IAM::ManagedPolicy",
                "Properties": {
                    "PolicyDocument": {
                        **DOCUMENT,
                        "Statement": [{**DOCUMENT["Statement"][0], "Sid": value}],
                    }
                },
            },
            "Parameter": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Name": "/lab/value", "Type": "String", "Value": value},
            },
            "Repository": {
                "Type": "AWS::ECR::Repository",
                "Properties": {
                    "RepositoryName": "lab/images",
                    "ImageScanningConfiguration": {"ScanOnPush": value == "one"},
                },
            },
        },
        "Outputs": {
            "Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}},
            "Uri": {"Value": {"Fn::GetAtt": ["Repository", "RepositoryUri"]}},
        },
    }


def test_identities_parameters_and_repositories(stacks: Stacks, aws: Aws, url: str) -> None:
    code, told = refused(lambda: stacks.create(identities("one")))
    assert (code, told) == (
        "InsufficientCapabilitiesException",
        "Requires capabilities : [CAPABILITY_IAM]",
    )
    # botocore turns IAM's documents from text into what they say: no shape has that.
    iam = boto3.Session("any", "thing", region_name="us-east-1").client("iam", endpoint_url=url)
    ssm, ecr = aws("ssm"), aws("ecr")
    capable = {"Capabilities": ["CAPABILITY_IAM"]}
    stack = stacks.create(identities("one"), **capable)
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failures()
    assert stack["Capabilities"] == ["CAPABILITY_IAM"]
    role = stacks.physical("Role")
    assert stack["Outputs"][0]["OutputValue"] == iam.get_role(RoleName=role)["Role"]["Arn"]
    assert set(iam.list_role_policies(RoleName=role)["PolicyNames"]) == {"one", "more"}
    (attached,) = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert attached["PolicyArn"] == stacks.physical("Managed")
    assert ssm.get_parameter(Name="/lab/value")["Parameter"]["Value"] == "one"

    updated = stacks.update(identities("two"), **capable)
    assert updated["StackStatus"] == "UPDATE_COMPLETE", stacks.failures()
    assert stacks.physical("Role") == role
    assert set(iam.list_role_policies(RoleName=role)["PolicyNames"]) == {"two", "more"}
    assert ssm.get_parameter(Name="/lab/value")["Parameter"]["Value"] == "two"
    (repository,) = ecr.describe_repositories()["repositories"]
    assert repository["imageScanningConfiguration"] == {"scanOnPush": False}
    assert repository["repositoryUri"] == updated["Outputs"][1]["OutputValue"]

    using = {
        "Parameters": {
            "P": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/lab/value"}
        },
        "Resources": {"M": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "P"}}}},
    }
    assert stacks.create(using, "t")["Parameters"][0]["ResolvedValue"] == "two"
    assert stacks.physical("M", "t").endswith("/two")

    assert stacks.delete()["StackStatus"] == "DELETE_COMPLETE"
    assert iam.list_policies(Scope="Local")["Policies"] == []
    assert role not in [each["RoleName"] for each in iam.list_roles()["Roles"]]
    assert ecr.describe_repositories()["repositories"] == []


# --- change sets, waiters, paginators ---

QUEUES = """
Parameters: {Seconds: {Type: Number, Default: 60}, Secret: {Type: String, NoEcho: true, Default: a}}
Resources:
  Queue: {Type: AWS::SQS::Queue, Metadata: {why: callbacks}}
  Model:
    Type: AWS::SageMaker::ModelPackageGroup
    Properties: {ModelPackageGroupName: !Sub 'g-${Seconds}'}
Outputs: {Queue: {Value: !GetAtt Queue.Arn}}
"""


def test_change_sets_as_the_aws_cli_deploys(stacks: Stacks, aws: Aws) -> None:
    client = stacks.client
    assert "does not exist" in refused(lambda: client.describe_stacks(StackName="s"))[1]
    made = client.create_change_set(
        StackName="s", ChangeSetName="first", ChangeSetType="CREATE", TemplateBody=QUEUES
    )
    client.get_waiter("change_set_create_complete").wait(ChangeSetName=made["Id"])
    assert stacks.describe()["StackStatus"] == "REVIEW_IN_PROGRESS"
    assert aws("sqs").list_queues().get("QueueUrls", []) == []
    described = client.describe_change_set(ChangeSetName="first", StackName="s")
    changes = [each["ResourceChange"] for each in described["Changes"]]
    assert {(c["LogicalResourceId"], c["Action"]) for c in changes} == {
        ("Queue", "Add"),
        ("Model", "Add"),
    }
    client.execute_change_set(ChangeSetName=made["Id"])
    client.get_waiter("stack_create_complete").wait(StackName="s", WaiterConfig=OFTEN)
    executed = client.describe_change_set(ChangeSetName=made["Id"])
    assert executed["ExecutionStatus"] == "EXECUTE_COMPLETE"
    assert client.get_template(StackName="s")["TemplateBody"].strip() == QUEUES.strip()

    client.create_change_set(StackName="s", ChangeSetName="same", UsePreviousTemplate=True)
    same = client.describe_change_set(ChangeSetName="same", StackName="s")
    assert (same["Status"], same["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "didn't contain changes" in same["StatusReason"]
    waiter = client.get_waiter("change_set_create_complete")
    with pytest.raises(WaiterError):
        waiter.wait(ChangeSetName="same", StackName="s")
    code, _ = refused(lambda: client.execute_change_set(ChangeSetName="same", StackName="s"))
    assert code == "InvalidChangeSetStatus"
    client.delete_change_set(ChangeSetName="same", StackName="s")
    code, _ = refused(lambda: client.describe_change_set(ChangeSetName="same", StackName="s"))
    assert code == "ChangeSetNotFound"

    client.create_change_set(
        StackName="s",
        ChangeSetName="second",
        UsePreviousTemplate=True,
        Parameters=[{"ParameterKey": "Seconds", "ParameterValue": "70"}],
    )
    (change,) = client.describe_change_set(ChangeSetName="second", StackName="s")["Changes"]
    assert change["ResourceChange"]["Replacement"] == "True"
    client.execute_change_set(ChangeSetName="second", StackName="s")
    client.get_waiter("stack_update_complete").wait(StackName="s", WaiterConfig=OFTEN)
    assert stacks.physical("Model").endswith("/g-70")
    client.delete_stack(StackName="s")
    client.get_waiter("stack_delete_complete").wait(StackName="s", WaiterConfig=OFTEN)


def test_lists_tokens_templates_and_what_is_hidden(stacks: Stacks, aws: Aws) -> None:
    client = stacks.client
    token = {"ClientRequestToken": "once"}
    secret = [{"ParameterKey": "Secret", "ParameterValue": "very"}]
    aws("s3").create_bucket(Bucket="templates")
    aws("s3").put_object(Bucket="templates", Key="t.yaml", Body=QUEUES.encode())
    url = f"{client.meta.endpoint_url}/templates/t.yaml"
    first = client.create_stack(StackName="s", TemplateURL=url, Parameters=secret, **token)
    stack = stacks.rested()
    again = client.create_stack(StackName="s", TemplateURL=url, Parameters=secret, **token)
    assert again["StackId"] == first["StackId"]
    code, _ = refused(lambda: client.delete_stack(StackName="s", **token))
    assert code == "TokenAlreadyExistsException"
    code, _ = refused(lambda: client.create_stack(StackName="s", TemplateURL=url))
    assert code == "AlreadyExistsException"
    shown = {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}
    assert shown == {"Seconds": "60", "Secret": "****"}
    keep = [{"ParameterKey": "Secret", "UsePreviousValue": True}]
    code, told = refused(lambda: stacks.update(Parameters=keep))
    assert (code, told) == ("ValidationError", "No updates are to be performed.")

    client.get_waiter("stack_exists").wait(StackName="s")
    (page,) = client.get_paginator("list_stacks").paginate(StackStatusFilter=["CREATE_COMPLETE"])
    assert [each["StackName"] for each in page["StackSummaries"]] == ["s"]
    (page,) = client.get_paginator("describe_stacks").paginate()
    assert page["Stacks"][0]["StackId"] == first["StackId"]
    (page,) = client.get_paginator("list_stack_resources").paginate(StackName="s")
    assert {each["LogicalResourceId"] for each in page["StackResourceSummaries"]} == {
        "Queue",
        "Model",
    }
    detail = client.describe_stack_resource(StackName="s", LogicalResourceId="Queue")
    assert json.loads(detail["StackResourceDetail"]["Metadata"]) == {"why": "callbacks"}
    owner = client.describe_stack_resources(PhysicalResourceId=stacks.physical("Queue"))
    assert owner["StackResources"][0]["StackName"] == "s"
    summary = client.get_template_summary(StackName="s")
    assert set(summary["ResourceTypes"]) == {"AWS::SQS::Queue", "AWS::SageMaker::ModelPackageGroup"}
    validated = client.validate_template(TemplateBody=QUEUES)
    assert [each["ParameterKey"] for each in validated["Parameters"]] == ["Seconds", "Secret"]
    assert client.list_exports()["Exports"] == []
    stacks.delete()
    assert stacks.describe(first["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    assert client.list_stacks()["StackSummaries"][0]["StackStatus"] == "DELETE_COMPLETE"


# --- what is refused ---


def test_types_that_would_only_pretend(stacks: Stacks, aws: Aws) -> None:
    template = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Release": {"Type": "AWS::CodePipeline::Pipeline"},
            "Build": {"Type": "AWS::CodeBuild::Project"},
            "Custom": {"Type": "Custom::Thing"},
        }
    }
    text = json.dumps(template)
    for act in (
        lambda: stacks.create(template),
        lambda: stacks.client.validate_template(TemplateBody=text),
        lambda: stacks.client.create_change_set(
            StackName="s", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=text
        ),
    ):
        code, told = refused(act)
        assert code == "ValidationError"
        assert "[AWS::CodeBuild::Project, AWS::CodePipeline::Pipeline, Custom::Thing]" in told
        assert "they would only pretend here. Nothing has been created." in told
    assert stacks.client.list_stacks()["StackSummaries"] == []
    assert aws("sqs").list_queues().get("QueueUrls", []) == []


REFUSED = [
    ({"TemplateBody": "x" * 51_201}, "less than or equal to 51200"),
    ({}, "Either Template URL or Template Body must be specified."),
    ({"TemplateURL": "https://example.com/t.yaml"}, "TemplateURL must be a supported URL."),
    ({"TemplateURL": "https://none.s3.us-east-1.amazonaws.com/t"}, "S3 error"),
    ({"StackName": "a_b", "TemplateBody": QUEUES}, "at 'stackName' failed to satisfy"),
    ({"TemplateBody": QUEUES, "NotificationARNs": ["arn:aws:sns:us-east-1:1:t"]},
     "NotificationARNs is refused by the local gateway"),
    ({"TemplateBody": QUEUES, "Tags": [{"Key": "aws:x", "Value": "y"}]}, "aws: prefixed"),
    ({"TemplateBody": QUEUES, "OnFailure": "DELETE", "DisableRollback": True}, "not both"),
    ({"TemplateBody": QUEUES, "Parameters": [{"ParameterKey": "No", "ParameterValue": "1"}]},
     "Parameters: [No] do not exist in the template"),
    ({"TemplateBody": "Resources: {Q: {Type: AWS::SQS::Queue, Properties: {Foo: 1}}}"},
     "extraneous key [Foo] is not permitted"),
    ({"TemplateBody": "Resources: {\x01: 1}"}, "YAML not well-formed"),
]  # fmt: skip


def test_requests_that_are_refused(stacks: Stacks) -> None:
    for request, wanted in REFUSED:
        given: dict[str, Any] = {"StackName": "s", **request}
        code, told = refused(lambda given=given: stacks.client.create_stack(**given))
        assert code == "ValidationError"
        assert wanted in told
    code, told = refused(lambda: stacks.client.list_stack_sets())
    assert code == "NotImplemented"
    assert "does not answer cloudformation ListStackSets" in told
    assert stacks.client.list_stacks()["StackSummaries"] == []


def test_an_operation_that_another_service_does_not_answer_fails_the_resource(
    stacks: Stacks,
) -> None:
    policy = {"ModelPackageGroupName": "g", "ModelPackageGroupPolicy": {"Version": "2012-10-17"}}
    stack = stacks.create(
        {"Resources": {"G": {"Type": "AWS::SageMaker::ModelPackageGroup", "Properties": policy}}}
    )
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.reasons()["G", "CREATE_FAILED"]
    assert "PutModelPackageGroupPolicy" in reason
    assert "NotImplemented" in reason
