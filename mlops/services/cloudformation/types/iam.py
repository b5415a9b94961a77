"""AWS::IAM: Role, Policy, ManagedPolicy."""

from __future__ import annotations

from typing import Any, ClassVar

from mlops.ports import JsonObject
from mlops.services.cloudformation.schema import (
    DOCUMENT,
    STRING,
    ListOf,
    Struct,
    of_operation,
)
from mlops.services.cloudformation.types.base import (
    ApiType,
    Aws,
    Made,
    ResourceType,
    changed,
    found,
    tag_changes,
)

_INLINE = ListOf(
    Struct({"PolicyName": STRING, "PolicyDocument": DOCUMENT}, ("PolicyName", "PolicyDocument"))
)
_MOST_VERSIONS = 5  # of a managed policy (IAM and AWS STS quotas)


class Role(ApiType):
    type = "AWS::IAM::Role"
    service = "iam"
    operations = ("CreateRole", "GetRole", "DeleteRole")
    member = name_property = "RoleName"
    replacing = ("RoleName", "Path")
    attributes = ("Arn", "RoleId")
    is_iam = True
    longest_name = 64
    not_sent = ("ManagedPolicyArns", "Policies")

    def properties(self) -> Struct:
        return of_operation(
            "iam",
            "CreateRole",
            more={
                "AssumeRolePolicyDocument": DOCUMENT,
                "ManagedPolicyArns": ListOf(STRING),
                "Policies": _INLINE,
            },
            required=("AssumeRolePolicyDocument",),
        )()

    def exists(self, aws: Aws, name: str) -> bool:
        # The gateway's GetRole finds roles that nobody has made; their policies it does not.
        return found(lambda: aws.call("iam", "ListRolePolicies", RoleName=name))

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        for arn in properties.get("ManagedPolicyArns") or []:
            aws.call("iam", "AttachRolePolicy", RoleName=name, PolicyArn=arn)
        for policy in properties.get("Policies") or []:
            _put_inline(aws, name, policy)

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        role = self.describe(aws, name)["Role"]
        return Made(name, {"Arn": role["Arn"], "RoleId": role["RoleId"]})

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        if changed("AssumeRolePolicyDocument", old, new):
            document = DOCUMENT.request(new["AssumeRolePolicyDocument"])
            aws.call("iam", "UpdateAssumeRolePolicy", RoleName=name, PolicyDocument=document)
        if changed("Description", old, new) or changed("MaxSessionDuration", old, new):
            aws.call(
                "iam",
                "UpdateRole",
                RoleName=name,
                Description=new.get("Description", ""),
                MaxSessionDuration=new.get("MaxSessionDuration", 3600),
            )
        if changed("PermissionsBoundary", old, new):
            _set_boundary(aws, name, new.get("PermissionsBoundary"))
        kept = new.get("ManagedPolicyArns") or []
        for arn in old.get("ManagedPolicyArns") or []:
            if arn not in kept:
                _forgiving(aws, "DetachRolePolicy", RoleName=name, PolicyArn=arn)
        names = [policy["PolicyName"] for policy in new.get("Policies") or []]
        for policy in old.get("Policies") or []:
            if policy["PolicyName"] not in names:
                _remove_inline(aws, name, policy["PolicyName"])
        self.settle(aws, name, new)
        added, gone = tag_changes(old, new)
        if gone:
            aws.call("iam", "UntagRole", RoleName=name, TagKeys=gone)
        if added:
            aws.call("iam", "TagRole", RoleName=name, Tags=added)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        """What the template attached goes first; what others have attached keeps the role."""
        for arn in properties.get("ManagedPolicyArns") or []:
            _forgiving(aws, "DetachRolePolicy", RoleName=name, PolicyArn=arn)
        for policy in properties.get("Policies") or []:
            _remove_inline(aws, name, policy["PolicyName"])
        super().delete(aws, name, properties)


def _set_boundary(aws: Aws, role: str, arn: str | None) -> None:
    if arn is None:
        aws.call("iam", "DeleteRolePermissionsBoundary", RoleName=role)
    else:
        aws.call("iam", "PutRolePermissionsBoundary", RoleName=role, PermissionsBoundary=arn)


def _put_inline(aws: Aws, role: str, policy: JsonObject) -> None:
    aws.call(
        "iam",
        "PutRolePolicy",
        RoleName=role,
        PolicyName=policy["PolicyName"],
        PolicyDocument=DOCUMENT.request(policy["PolicyDocument"]),
    )


def _remove_inline(aws: Aws, role: str, policy: str) -> None:
    _forgiving(aws, "DeleteRolePolicy", RoleName=role, PolicyName=policy)


def _forgiving(aws: Aws, operation: str, **request: Any) -> None:
    """Take something away that may be gone already."""
    found(lambda: aws.call("iam", operation, **request))


class Policy(ResourceType):
    """An inline policy of roles. ``Ref`` is a name of the stack's own making."""

    type = "AWS::IAM::Policy"
    attributes = ("Id",)
    is_iam = True
    tagged = False
    not_here = ("Groups", "Users")
    longest_name = 128

    def properties(self) -> Struct:
        return Struct(
            {"PolicyName": STRING, "PolicyDocument": DOCUMENT, "Roles": ListOf(STRING)},
            ("PolicyName", "PolicyDocument", "Roles"),
        )

    def exists(self, aws: Aws, name: str) -> bool:
        return False  # putting it again changes nothing

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        return name  # each role gets it by a call of its own

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        for role in properties["Roles"]:
            _put_inline(aws, role, properties)

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        return Made(name, {"Id": name})

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        self.settle(aws, name, new)
        for role in old["Roles"]:
            if role not in new["Roles"] or changed("PolicyName", old, new):
                _remove_inline(aws, role, old["PolicyName"])

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        for role in properties["Roles"]:
            _remove_inline(aws, role, properties["PolicyName"])


class ManagedPolicy(ApiType):
    """Called by its ARN once it is made; ``Ref`` is the ARN."""

    type = "AWS::IAM::ManagedPolicy"
    service = "iam"
    operations = ("CreatePolicy", "GetPolicy", "DeletePolicy")
    member = "PolicyArn"
    name_property = "ManagedPolicyName"
    replacing = ("ManagedPolicyName", "Description", "Path")
    attributes = ("PolicyArn", "PolicyId", "DefaultVersionId")
    described: ClassVar = {
        "PolicyArn": "Arn",
        "PolicyId": "PolicyId",
        "DefaultVersionId": "DefaultVersionId",
    }
    is_iam = True
    tagged = False
    not_here = ("Groups", "Users")
    longest_name = 128
    not_sent = ("Roles", "ManagedPolicyName")

    def properties(self) -> Struct:
        return of_operation(
            "iam",
            "CreatePolicy",
            without=("Tags", "PolicyName"),
            more={
                "ManagedPolicyName": STRING,
                "PolicyDocument": DOCUMENT,
                "Roles": ListOf(STRING),
            },
            required=("PolicyDocument",),
        )()

    def describe(self, aws: Aws, name: str) -> JsonObject:
        described: JsonObject = super().describe(aws, name)["Policy"]
        return described

    def exists(self, aws: Aws, name: str) -> bool:
        if name.startswith("arn:"):
            return super().exists(aws, name)
        return self._arn(aws, name) is not None

    def create(self, aws: Aws, name: str, properties: JsonObject, token: str) -> str:
        answer = aws.call("iam", "CreatePolicy", PolicyName=name, **self.request(properties))
        arn: str = answer["Policy"]["Arn"]
        return arn

    def settle(self, aws: Aws, name: str, properties: JsonObject) -> None:
        for role in properties.get("Roles") or []:
            aws.call("iam", "AttachRolePolicy", RoleName=role, PolicyArn=self._called(aws, name))

    def read(self, aws: Aws, name: str, properties: JsonObject) -> Made:
        arn = self._called(aws, name)
        return Made(arn, super().read(aws, arn, properties).attributes)

    def update(self, aws: Aws, name: str, old: JsonObject, new: JsonObject) -> None:
        arn = self._called(aws, name)
        if changed("PolicyDocument", old, new):
            self._drop_old_versions(aws, arn, _MOST_VERSIONS - 1)
            aws.call(
                "iam",
                "CreatePolicyVersion",
                PolicyArn=arn,
                PolicyDocument=DOCUMENT.request(new["PolicyDocument"]),
                SetAsDefault=True,
            )
        for role in old.get("Roles") or []:
            if role not in (new.get("Roles") or []):
                _forgiving(aws, "DetachRolePolicy", RoleName=role, PolicyArn=arn)
        self.settle(aws, name, new)

    def delete(self, aws: Aws, name: str, properties: JsonObject) -> None:
        arn = self._called(aws, name)
        for role in properties.get("Roles") or []:
            _forgiving(aws, "DetachRolePolicy", RoleName=role, PolicyArn=arn)
        self._drop_old_versions(aws, arn, 1)
        super().delete(aws, arn, properties)

    def _drop_old_versions(self, aws: Aws, arn: str, keep: int) -> None:
        versions = aws.call("iam", "ListPolicyVersions", PolicyArn=arn)["Versions"]
        old = [each["VersionId"] for each in versions if not each["IsDefaultVersion"]]
        for version in sorted(old, key=lambda text: int(text[1:]))[: len(versions) - keep]:
            aws.call("iam", "DeletePolicyVersion", PolicyArn=arn, VersionId=version)

    def _called(self, aws: Aws, name: str) -> str:
        """The ARN; a creation that was cut off has left the name alone."""
        return name if name.startswith("arn:") else self._arn(aws, name) or name

    def _arn(self, aws: Aws, name: str) -> str | None:
        marker: JsonObject = {}
        while True:
            answer = aws.call("iam", "ListPolicies", Scope="Local", **marker)
            for policy in answer["Policies"]:
                if policy["PolicyName"] == name:
                    arn: str = policy["Arn"]
                    return arn
            if not answer.get("IsTruncated"):
                return None
            marker = {"Marker": answer["Marker"]}
