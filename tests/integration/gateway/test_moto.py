"""The services that moto answers in the gateway's process: what they do, refuse, and keep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.validate import ParamValidator

from mlops.app import compose_gateway
from mlops.clock import SystemClock
from mlops.errors import ServiceError
from mlops.gateway.client import GatewayClient
from mlops.gateway.moto.adapting import ONE_AT_A_TIME
from mlops.gateway.moto.journal import SEVERAL, Journal, Limits, Wire
from mlops.gateway.moto.world import Change, World
from mlops.gateway.process import ensure_gateway, stop_gateway
from mlops.gateway.server import GatewayThread
from mlops.runtimes.fake import FakeRuntime
from mlops.settings import Settings

from .conftest import ACCOUNT, ROLE

Clients = Callable[[str], Any]
STATEMENT = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [STATEMENT]})
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
MANAGED = "arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
TOPIC = f"arn:aws:sns:us-east-1:{ACCOUNT}:topic"
HASH_KEY = {
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def check_answer(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Fail on an answer that lacks a required member or has one of a wrong type.

    Least lengths and values are for requests: AWS itself answers with a count of 0.
    """
    if http_response.status_code >= 300 or model.output_shape is None:
        return
    content = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
    report = ParamValidator().validate(content, model.output_shape).generate_report()
    broken = [line for line in report.splitlines() if "valid min" not in line]
    assert not broken, f"{model.name}: {broken}"


def clients_of(url: str) -> Clients:
    """Clients whose answers are held to the output shape."""
    session = boto3.Session("any", "thing", region_name="us-east-1")

    def make(service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1})
        made = session.client(service, endpoint_url=url, config=config)
        if service != "iam":  # botocore decodes its policies before the check
            made.meta.events.register("after-call", check_answer)
        return made

    return make


@contextmanager
def gateway_of(settings: Settings) -> Iterator[Clients]:
    with GatewayThread(compose_gateway(settings, FakeRuntime({}))) as url:
        yield clients_of(url)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(store=tmp_path_factory.mktemp("moto") / "store", account_id=ACCOUNT)


@pytest.fixture(scope="module")
def aws(shared: Settings) -> Iterator[Clients]:
    with gateway_of(shared) as clients:
        yield clients


# --- what each service does: written, and read again by whoever asks later -----------------------


def write_parameters(aws: Clients) -> None:
    ssm = aws("ssm")
    for value in ("1", "2"):
        ssm.put_parameter(Name="/lab/threshold", Value=value, Type="String", Overwrite=True)
    ssm.put_parameter(Name="/lab/key", Value="secret", Type="SecureString")
    ssm.label_parameter_version(Name="/lab/threshold", ParameterVersion=1, Labels=["first"])
    tags = [{"Key": "team", "Value": "a"}]
    ssm.add_tags_to_resource(ResourceType="Parameter", ResourceId="/lab/key", Tags=tags)


def read_parameters(aws: Clients) -> Any:
    ssm = aws("ssm")
    found = ssm.get_parameters_by_path(Path="/lab", WithDecryption=True)["Parameters"]
    assert {each["Name"]: each["Value"] for each in found} == {
        "/lab/threshold": "2",
        "/lab/key": "secret",
    }
    assert ssm.get_parameter(Name="/lab/threshold:first")["Parameter"]["Value"] == "1"
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/lab/key")["TagList"]
    assert tags == [{"Key": "team", "Value": "a"}]
    return found, ssm.get_parameter_history(Name="/lab/threshold")["Parameters"]


def write_secrets(aws: Clients) -> None:
    secrets = aws("secretsmanager")
    secrets.create_secret(Name="database", SecretString="one")
    secrets.put_secret_value(SecretId="database", SecretString="two")
    secrets.create_secret(Name="old", SecretBinary=b"\x00\xff")
    secrets.delete_secret(SecretId="old", RecoveryWindowInDays=7)


def read_secrets(aws: Clients) -> Any:
    secrets = aws("secretsmanager")
    found = secrets.get_secret_value(SecretId="database")
    assert found["SecretString"] == "two"
    before = secrets.get_secret_value(SecretId="database", VersionStage="AWSPREVIOUS")
    assert before["SecretString"] == "one"
    with pytest.raises(ClientError, match="InvalidRequestException"):
        secrets.get_secret_value(SecretId="old")
    described = secrets.describe_secret(SecretId="database")
    for each in (found, before, described):
        each.pop("ResponseMetadata")
    described.pop("LastAccessedDate", None)  # there is none before the first look
    return found, before, described


def write_keys(aws: Clients) -> None:
    kms = aws("kms")
    keys = (
        ("data", {}),
        ("mac", {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}),
        ("signing", {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}),
    )
    for name, more in keys:
        key = kms.create_key(Description=name, **more)["KeyMetadata"]["KeyId"]
        kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    for _ in range(2):
        kms.encrypt(KeyId="alias/aws/s3", Plaintext=b"makes AWS's own key")


def read_keys(aws: Clients) -> Any:
    kms = aws("kms")
    packed = kms.encrypt(KeyId="alias/data", Plaintext=b"weights")["CiphertextBlob"]
    assert b"weights" not in packed
    assert kms.decrypt(CiphertextBlob=packed)["Plaintext"] == b"weights"
    mac = kms.generate_mac(KeyId="alias/mac", MacAlgorithm="HMAC_SHA_256", Message=b"m")["Mac"]
    with pytest.raises(ClientError, match="KMSInvalidMacException"):
        kms.verify_mac(KeyId="alias/mac", MacAlgorithm="HMAC_SHA_256", Message=b"n", Mac=mac)
    signed = {"KeyId": "alias/signing", "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    signature = kms.sign(**signed)["Signature"]
    assert kms.verify(**signed, Signature=signature)["SignatureValid"]
    public = kms.get_public_key(KeyId="alias/signing")["PublicKey"]
    return mac, public, kms.list_keys()["Keys"], kms.describe_key(KeyId="alias/data")["KeyMetadata"]


def write_roles(aws: Clients) -> None:
    iam = aws("iam")
    iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="trainer", PolicyArn=MANAGED)
    iam.put_role_policy(RoleName="trainer", PolicyName="inline", PolicyDocument=POLICY)
    iam.create_policy(PolicyName="own", PolicyDocument=POLICY)
    iam.create_user(UserName="somebody")
    iam.create_access_key(UserName="somebody")


def read_roles(aws: Clients) -> Any:
    iam = aws("iam")
    attached = iam.list_attached_role_policies(RoleName="trainer")["AttachedPolicies"]
    assert [each["PolicyArn"] for each in attached] == [MANAGED]
    assert iam.list_role_policies(RoleName="trainer")["PolicyNames"] == ["inline"]
    role = iam.get_role(RoleName="trainer")["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/trainer"
    policies = iam.list_policies(Scope="Local")["Policies"]
    keys = iam.list_access_keys(UserName="somebody")["AccessKeyMetadata"]
    return role, policies, keys, iam.get_user(UserName="somebody")["User"]


def write_topics(aws: Clients) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name="topic", Tags=[{"Key": "team", "Value": "a"}])["TopicArn"]
    assert topic == TOPIC
    queue = f"arn:aws:sqs:us-east-1:{ACCOUNT}:queue"
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue)


def read_topics(aws: Clients) -> Any:
    sns = aws("sns")
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=TOPIC)["Subscriptions"]
    assert [each["Protocol"] for each in subscriptions] == ["sqs"]
    return subscriptions, sns.get_topic_attributes(TopicArn=TOPIC)["Attributes"]


def write_tables(aws: Clients) -> None:
    dynamodb = aws("dynamodb")
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    dynamodb.create_table(TableName="runs", StreamSpecification=stream, **HASH_KEY)
    for number in range(3):
        item = {"id": {"S": f"run-{number}"}, "mse": {"N": f"0.0{number}"}}
        dynamodb.put_item(TableName="runs", Item=item)
    with pytest.raises(ClientError, match="ConditionalCheckFailedException"):
        dynamodb.put_item(
            TableName="runs",
            Item={"id": {"S": "run-0"}},
            ConditionExpression="attribute_not_exists(id)",
        )
    dynamodb.update_item(
        TableName="runs",
        Key={"id": {"S": "run-1"}},
        UpdateExpression="SET tries = :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
    )


def read_tables(aws: Clients) -> Any:
    dynamodb, streams = aws("dynamodb"), aws("dynamodbstreams")
    found = dynamodb.scan(
        TableName="runs",
        FilterExpression="mse < :gate",
        ExpressionAttributeValues={":gate": {"N": "0.015"}},
    )["Items"]
    assert sorted(each["id"]["S"] for each in found) == ["run-0", "run-1"]
    (stream,) = streams.list_streams(TableName="runs")["Streams"]
    shards = streams.describe_stream(StreamArn=stream["StreamArn"])["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=stream["StreamArn"],
        ShardId=shards[0]["ShardId"],
        ShardIteratorType="TRIM_HORIZON",
    )["ShardIterator"]
    records = streams.get_records(ShardIterator=iterator)["Records"]
    assert [each["eventName"] for each in records] == ["INSERT"] * 3 + ["MODIFY"]
    return found, records, dynamodb.describe_table(TableName="runs")["Table"]


def write_metrics(aws: Clients) -> None:
    data = [{"MetricName": "mse", "Value": float(number)} for number in range(300)]
    aws("cloudwatch").put_metric_data(Namespace="lab", MetricData=data)  # long: botocore packs it


def read_metrics(aws: Clients) -> Any:
    statistics = aws("cloudwatch").get_metric_statistics(
        Namespace="lab",
        MetricName="mse",
        StartTime=datetime.now(UTC) - timedelta(hours=1),
        EndTime=datetime.now(UTC) + timedelta(hours=1),
        Period=86400,
        Statistics=["Maximum", "SampleCount"],
    )["Datapoints"]
    total = sum(each["SampleCount"] for each in statistics)
    return total, max(each["Maximum"] for each in statistics)


def write_streams(aws: Clients) -> None:
    kinesis = aws("kinesis")
    kinesis.create_stream(StreamName="events", ShardCount=1)
    for number in range(2):
        kinesis.put_record(StreamName="events", Data=b"%d" % number, PartitionKey="k")


def read_streams(aws: Clients) -> Any:
    kinesis = aws("kinesis")
    iterator = kinesis.get_shard_iterator(
        StreamName="events", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert [each["Data"] for each in records] == [b"0", b"1"]
    return records, kinesis.describe_stream(StreamName="events")["StreamDescription"]


KINDS: Mapping[str, tuple[Callable[[Clients], None], Callable[[Clients], Any]]] = {
    "ssm": (write_parameters, read_parameters),
    "secretsmanager": (write_secrets, read_secrets),
    "kms": (write_keys, read_keys),
    "iam": (write_roles, read_roles),
    "sns": (write_topics, read_topics),
    "dynamodb": (write_tables, read_tables),
    "cloudwatch": (write_metrics, read_metrics),
    "kinesis": (write_streams, read_streams),
}


@pytest.fixture(scope="module")
def read_twice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each kind reads before and after its gateway is gone, or the failure instead."""
    settings = Settings(store=tmp_path_factory.mktemp("kept") / "store", account_id=ACCOUNT)
    found: dict[str, list[Any]] = {}
    for write_too in (True, False):
        with gateway_of(settings) as aws:
            for kind, (write, read) in KINDS.items():
                try:
                    if write_too:
                        write(aws)
                    found.setdefault(kind, []).append(read(aws))
                except (AssertionError, ClientError) as failure:
                    found.setdefault(kind, []).append(failure)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_read_again_and_by_the_next_gateway_too(
    kind: str, read_twice: dict[str, list[Any]]
) -> None:
    for each in read_twice[kind]:
        if isinstance(each, Exception):
            raise each
    before, after = read_twice[kind]
    assert after == before


def test_two_gateways_know_nothing_of_one_another(aws: Clients, tmp_path: Path) -> None:
    other = Settings(store=tmp_path / "other", account_id=ACCOUNT)
    with gateway_of(other) as others:
        aws("sns").create_topic(Name="here")
        others("sns").create_topic(Name="there")
        assert [each["TopicArn"] for each in others("sns").list_topics()["Topics"]] == [
            f"arn:aws:sns:us-east-1:{ACCOUNT}:there"
        ]


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store", account_id=ACCOUNT, runtime="process")
    kinds = ("iam", "kms", "secretsmanager")
    try:
        first = ensure_gateway(settings)
        aws = clients_of(first.url)
        for kind in kinds:
            KINDS[kind][0](aws)
        before = [KINDS[kind][1](aws) for kind in kinds]
        os.kill(first.pid, signal.SIGKILL)
        second = ensure_gateway(settings)
        assert second.pid != first.pid
        aws = clients_of(second.url)
        assert [KINDS[kind][1](aws) for kind in kinds] == before
    finally:
        stop_gateway(settings)


def test_a_reset_forgets_all(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store", account_id=ACCOUNT, allow_reset=True)
    with GatewayThread(compose_gateway(settings, FakeRuntime({}))) as url:
        iam = clients_of(url)("iam")
        iam.create_role(RoleName="trainer", AssumeRolePolicyDocument=TRUST)
        GatewayClient(url).reset(settings.store)
        assert iam.list_roles()["Roles"] == []
    assert list(Journal(settings.store).entries()) == []


# --- one truth about a role ----------------------------------------------------------------------


def test_a_role_is_what_it_was_created_as_and_any_other_name_is_a_role(tmp_path: Path) -> None:
    with gateway_of(Settings(store=tmp_path / "store", account_id=ACCOUNT)) as aws:
        iam = aws("iam")
        implied = iam.get_role(RoleName="any")["Role"]
        iam.create_role(RoleName="made", Path="/lab/", AssumeRolePolicyDocument=TRUST)
        assert iam.get_role(RoleName="made")["Role"]["Path"] == "/lab/"
        assert iam.get_role(RoleName="any")["Role"] == implied
        made = iam.create_role(RoleName="any", AssumeRolePolicyDocument=TRUST)["Role"]
        assert iam.get_role(RoleName="any")["Role"]["RoleId"] == made["RoleId"]
        session = {"RoleArn": made["Arn"], "RoleSessionName": "session"}
        assumed = aws("sts").assume_role(**session)["AssumedRoleUser"]
        assert assumed["AssumedRoleId"] == f"{made['RoleId']}:session"
        iam.delete_role(RoleName="any")
        with pytest.raises(ClientError, match=r"AccessDenied.*deleted it"):
            aws("sts").assume_role(**session)
        with pytest.raises(iam.exceptions.NoSuchEntityException):
            iam.get_role(RoleName="any")
        assert [role["RoleName"] for role in iam.list_roles()["Roles"]] == ["made"]


def test_others_do_not_wait_for_a_request_to_moto(aws: Clients) -> None:
    with ONE_AT_A_TIME:  # as while moto is imported
        assert aws("sagemaker").list_pipelines()["PipelineSummaries"] == []
        assert aws("iam").get_role(RoleName="any")["Role"]["RoleName"] == "any"


def test_finding_a_role_imports_no_moto(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mlops.app import compose_gateway;"
        "from mlops.runtimes.fake import FakeRuntime; from mlops.settings import Settings;"
        "from mlops.gateway.server import GatewayThread;"
        "from urllib.request import Request, urlopen;"
        "gateway = compose_gateway(Settings(store=Path(sys.argv[1])), FakeRuntime({}));"
        "url = GatewayThread(gateway).__enter__();"
        "scope = 'AWS4-HMAC-SHA256 Credential=a/20260203/us-east-1/iam/aws4_request';"
        "form = b'Action=GetRole&RoleName=any';"
        "print(urlopen(Request(url, form, {'Authorization': scope})).read().decode());"
        "gateway.stop(); print('moto' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert "<RoleName>any</RoleName>" in done.stdout, done.stderr
    assert done.stdout.splitlines()[-1] == "False"


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("service", "call", "request_", "told"),
    [
        ("ssm", "create_document", {"Name": "d", "Content": "{}"}, "ssm CreateDocument: .*nowhere"),
        ("sns", "publish", {"TopicArn": TOPIC, "Message": "m"}, "sns Publish: .*SQS queue"),
        ("ssm", "get_inventory", {}, "ssm GetInventory: it has "),
        ("glue", "get_databases", {}, "glue GetDatabases: .*crawler"),
        ("ec2", "describe_vpcs", {}, "ec2 DescribeVpcs: .*networks"),
        ("batch", "describe_job_queues", {}, "batch DescribeJobQueues: .*Processing"),
        ("route53", "list_hosted_zones", {}, "route53 ListHostedZones: .*resolved"),
        ("cloudwatch", "put_dashboard", {"DashboardName": "d", "DashboardBody": "{}"}, "draws"),
    ],
)
def test_what_would_be_pretended_is_refused_by_name(
    service: str, call: str, request_: dict[str, Any], told: str, aws: Clients
) -> None:
    with pytest.raises(ClientError, match=told) as refused:
        getattr(aws(service), call)(**request_)
    assert refused.value.response["Error"]["Code"] == "NotImplemented"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_a_protocol_that_is_not_spoken_is_refused(aws: Clients) -> None:
    url = aws("cloudwatch").meta.endpoint_url
    request = urllib.request.Request(
        f"{url}/service/GraniteServiceVersion20100801/operation/ListMetrics",
        b"\xa0",
        {
            "Authorization": "AWS4 Credential=a/20260203/us-east-1/monitoring/aws4_request",
            "Smithy-Protocol": "rpc-v2-cbor",
            "Content-Type": "application/cbor",
        },
    )
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 501
    assert b"does not speak this protocol with cloudwatch" in refused.value.read()


def test_a_request_that_breaks_the_model_is_refused_as_aws_does(aws: Clients) -> None:
    ssm = aws("ssm")
    with pytest.raises(ClientError, match=r"ValidationException.*enum value set") as refused:
        ssm.put_parameter(Name="n", Value="v", Type="Number")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(ClientError, match="ValidationError"):
        aws("iam").create_role(RoleName="not a name", AssumeRolePolicyDocument=TRUST)


@pytest.mark.parametrize(
    ("service", "call", "request_", "told"),
    [
        (
            "ssm",
            "put_parameter",
            {"Name": "n", "Value": "v", "Type": "String", "Policies": "[]"},
            "Policies is not supported.*expires",
        ),
        ("kms", "create_key", {"Origin": "EXTERNAL"}, "only 'AWS_KMS': no key comes from"),
        ("kms", "create_key", {"MultiRegion": True}, "only False: there is one region"),
        ("sns", "create_topic", {"Name": "n", "DataProtectionPolicy": "{}"}, "no message is"),
    ],
)
def test_a_member_that_would_be_pretended_is_refused(
    service: str, call: str, request_: dict[str, Any], told: str, aws: Clients
) -> None:
    with pytest.raises(ClientError, match=told):
        getattr(aws(service), call)(**request_)


def test_an_error_of_motos_is_named_as_the_model_has_it(aws: Clients) -> None:
    dynamodb = aws("dynamodb")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_time_to_live(TableName="nothing")  # moto says ResourceNotFound


def test_a_key_that_could_not_be_made_again_is_refused(aws: Clients) -> None:
    with pytest.raises(ClientError, match="no RSA_2048 keys"):
        aws("kms").create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")


def test_where_moto_fails_nothing_has_changed(aws: Clients) -> None:
    iam = aws("iam")
    iam.create_group(GroupName="before")
    with pytest.raises(ClientError, match=r"CreateServiceLinkedRole by moto.*IndexError") as failed:
        iam.create_service_linked_role(AWSServiceName="x")
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert [each["GroupName"] for each in iam.list_groups()["Groups"]] == ["before"]


# --- what is kept --------------------------------------------------------------------------------


def test_what_was_written_to_a_table_goes_with_it(aws: Clients, shared: Settings) -> None:
    dynamodb = aws("dynamodb")
    dynamodb.create_table(TableName="short", **HASH_KEY)
    dynamodb.put_item(TableName="short", Item={"id": {"S": "1"}})
    journal = Journal(shared.store)
    assert journal.has("dynamodb", "short")
    dynamodb.delete_table(TableName="short")
    assert not journal.has("dynamodb", "short")
    journal.close()
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_table(TableName="short")


def test_one_of_awss_own_keys_is_kept_once(aws: Clients, shared: Settings) -> None:
    kms = aws("kms")
    packed = kms.encrypt(KeyId="alias/aws/glue", Plaintext=b"x")["CiphertextBlob"]
    kms.encrypt(KeyId="alias/aws/glue", Plaintext=b"y")
    journal = Journal(shared.store)
    scopes = [entry.scope for entry in journal.entries() if entry.operation == "Encrypt"]
    journal.close()
    assert scopes == ["alias/aws/glue"]
    assert kms.decrypt(CiphertextBlob=packed)["Plaintext"] == b"x"


def test_a_change_that_cannot_be_kept_is_not_made(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path, account_id=ACCOUNT)
    world = World(Journal(tmp_path, Limits(requests=1)), settings, SystemClock())

    def call(operation: str, **members: str) -> Wire:
        headers = (("X-Amz-Target", f"TrentService.{operation}"),)
        return Wire("POST", "/", "", headers, json.dumps(members).encode())

    def aliases() -> bytes:
        return world.ask("kms", "ListKeys", call("ListKeys")).body

    world.change("kms", "CreateKey", call("CreateKey"), Change(SEVERAL))
    before = aliases()
    with pytest.raises(ServiceError, match="takes no more"):
        world.change("kms", "CreateKey", call("CreateKey"), Change(SEVERAL))
    assert aliases() == before
    world.close()


def test_moto_is_a_library_here(aws: Clients) -> None:
    environment, session, client = dict(os.environ), boto3.DEFAULT_SESSION, boto3.client
    send = URLLib3Session.send
    aws("kms").create_key()
    import moto.core.models
    import moto.core.utils
    import moto.kms.utils
    from moto.core.config import default_user_config

    assert dict(os.environ) == environment
    assert not moto.core.models.botocore_stubber.enabled
    assert boto3.DEFAULT_SESSION is session
    assert boto3.client is client
    assert URLLib3Session.send is send
    # What it is adapted by while it works is not left in it.
    assert moto.kms.utils.os is os
    assert moto.core.utils.datetime is sys.modules["datetime"]
    assert default_user_config["iam"]["load_aws_managed_policies"] is False


def test_a_test_may_use_moto_beside_a_gateway(aws: Clients) -> None:
    from moto import mock_aws

    topics = aws("sns")
    topics.create_topic(Name="ours")
    with mock_aws():
        theirs = boto3.Session("any", "thing", region_name="us-east-1").client("sns")
        theirs.create_topic(Name="theirs")
        assert "ours" in str(topics.list_topics())
        assert [each["TopicArn"].rpartition(":")[2] for each in theirs.list_topics()["Topics"]] == [
            "theirs"
        ]
    assert "ours" in str(topics.list_topics())
    assert "theirs" not in str(topics.list_topics())


def test_the_default_role_is_the_settings_one(aws: Clients) -> None:
    assert aws("iam").get_role(RoleName="mlops-execution")["Role"]["Arn"] == ROLE
