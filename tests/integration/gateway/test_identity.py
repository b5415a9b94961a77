"""STS and IAM through boto3, as the SDKs ask them for an account and a role."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from .conftest import ACCOUNT, ROLE

Clients = Callable[..., Any]


def test_a_role_is_assumed(aws: Clients) -> None:
    answer = aws("sts").assume_role(RoleArn=ROLE, RoleSessionName="test", DurationSeconds=900)
    assert answer["AssumedRoleUser"]["Arn"] == (
        f"arn:aws:sts::{ACCOUNT}:assumed-role/mlops-execution/test"
    )
    left = answer["Credentials"]["Expiration"] - datetime.now(UTC)
    assert timedelta(minutes=13) < left <= timedelta(minutes=15)
    with pytest.raises(ClientError, match="less than or equal to 43200"):
        aws("sts").assume_role(RoleArn=ROLE, RoleSessionName="test", DurationSeconds=50000)
    with pytest.raises(ClientError, match="not a role's ARN"):
        aws("sts").assume_role(RoleArn="arn:aws:iam::123456789012:user/u", RoleSessionName="test")


def test_a_role_is_found_by_its_name_and_trusts_sagemaker(url: str) -> None:
    # A client without the check of answers: botocore itself makes the policy's text a mapping.
    iam = boto3.Session("any", "thing", region_name="us-east-1").client("iam", endpoint_url=url)
    role = iam.get_role(RoleName="mlops-execution")["Role"]
    assert (role["Arn"], role["Path"]) == (ROLE, "/")
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert "sagemaker.amazonaws.com" in statement["Principal"]["Service"]


def test_every_action_is_allowed(aws: Clients) -> None:
    actions = ["s3:GetObject", "sagemaker:CreateTrainingJob"]
    results = aws("iam").simulate_principal_policy(
        PolicySourceArn=ROLE, ActionNames=actions, ResourceArns=["*"]
    )["EvaluationResults"]
    assert [each["EvalActionName"] for each in results] == actions
    assert {each["EvalDecision"] for each in results} == {"allowed"}


def test_other_operations_are_named(aws: Clients) -> None:
    with pytest.raises(ClientError, match=r"iam CreateLoginProfile.*nobody signs in here"):
        aws("iam").create_login_profile(UserName="u", Password="password")
