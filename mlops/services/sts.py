"""STS and IAM, as far as clients need them to find an account and a role.

Credentials and permissions are not checked here: whoever reaches the gateway may do everything. So
every role that somebody names is there, and every action is allowed; who wants a policy tried asks
the cloud.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.ports import Clock, JsonObject
from mlops.services.operation import Handler
from mlops.services.validation import checked_request
from mlops.settings import Settings

DEFAULT_SESSION_SECONDS = 3600
"""botocore sts ``AssumeRole``: DurationSeconds when none is given."""
_ROLES_SINCE = datetime(2017, 11, 29, tzinfo=UTC)  # SageMaker's own beginning: older than any use
_TRUSTED = ("sagemaker.amazonaws.com", "lambda.amazonaws.com", "events.amazonaws.com")


class _QueryService:
    """Answers that ``gateway.protocols.query`` writes as XML: moments are datetimes in them."""

    service = ""
    reason = "credentials are not checked here, any will do"

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        """Answer one operation; numbers in the request may be text, as forms have them.

        Raises:
            ServiceError: as AWS answers; ``NotImplemented`` (501) for an operation not here.
        """
        handler = self._handlers.get(operation)
        if handler is None:
            raise ServiceError(
                "NotImplemented",
                f"The local gateway does not answer {self.service} {operation}, only "
                f"{', '.join(self._handlers)}: {self.reason}",
                status=501,
            )
        typed = _typed(self.service, operation, request)
        return handler(checked_request(self.service, operation, typed))


class StsService(_QueryService):
    service = "sts"

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        key: tuple[str, str] | None = None,
        find_role_id: Callable[[str], str | None] | None = None,
    ) -> None:
        """`key`: what who assumes a role signs with, where any will not do.

        `find_role_id` says by a role's ARN what id IAM has for it; None: there is no such role.
        """
        super().__init__(
            {"GetCallerIdentity": self._get_caller_identity, "AssumeRole": self._assume_role}
        )
        self._settings = settings
        self._clock = clock
        self._key = key or ("ASIALOCALCREDENTIALS", "local")
        self._find_role_id = find_role_id or implied_role_id

    def _get_caller_identity(self, _: JsonObject) -> JsonObject:
        account = self._settings.account_id
        # The form of a caller that has assumed the execution role: SDK v2's
        # get_execution_role() reads the role out of it.
        role = self._settings.execution_role_arn.rpartition("/")[2]
        return {
            "Account": account,
            "UserId": "AROALOCAL:local",
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/local",
        }

    def _assume_role(self, request: JsonObject) -> JsonObject:
        account, _, role = request["RoleArn"].removeprefix("arn:aws:iam::").partition(":role/")
        if not role:
            raise ServiceError("ValidationError", f"{request['RoleArn']} is not a role's ARN")
        role_id = self._find_role_id(request["RoleArn"])
        if role_id is None:
            message = f"There is no role {request['RoleArn']}: somebody has deleted it"
            raise ServiceError("AccessDenied", message, status=403)
        session = request["RoleSessionName"]
        seconds = request.get("DurationSeconds", DEFAULT_SESSION_SECONDS)
        name = role.rpartition("/")[2]
        return {
            "Credentials": {
                "AccessKeyId": self._key[0],
                "SecretAccessKey": self._key[1],
                "SessionToken": "local",
                "Expiration": self._clock.now() + timedelta(seconds=seconds),
            },
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role_id}:{session}",
                "Arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
            },
            "PackedPolicySize": 0,
        }


class IamService(_QueryService):
    service = "iam"
    reason = "roles and permissions are not checked here"

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            {"GetRole": self._get_role, "SimulatePrincipalPolicy": self._simulate_principal_policy}
        )
        self._settings = settings

    def _get_role(self, request: JsonObject) -> JsonObject:
        name = request["RoleName"]
        own = self._settings.execution_role_arn
        arn = f"arn:aws:iam::{self._settings.account_id}:role/{name}"
        arn = own if own.rpartition("/")[2] == name else arn
        path = arn.partition(":role")[2].removesuffix(name)
        return {
            "Role": {
                "Path": path,
                "RoleName": name,
                "RoleId": implied_role_id(arn),
                "Arn": arn,
                "CreateDate": _ROLES_SINCE,
                "AssumeRolePolicyDocument": quote(json.dumps(_trust())),
                "MaxSessionDuration": DEFAULT_SESSION_SECONDS,
            }
        }

    def _simulate_principal_policy(self, request: JsonObject) -> JsonObject:
        resources = request.get("ResourceArns") or ["*"]
        return {
            "EvaluationResults": [
                {
                    "EvalActionName": action,
                    "EvalResourceName": resource,
                    "EvalDecision": "allowed",
                }
                for action in request["ActionNames"]
                for resource in resources
            ],
            "IsTruncated": False,
        }


def _trust() -> JsonObject:
    """The trust policy of a role that the services here may take."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": list(_TRUSTED)},
        "Action": "sts:AssumeRole",
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def implied_role_id(arn: str) -> str:
    """The id of a role that nobody has created."""
    return "AROA" + hashlib.sha256(arn.encode()).hexdigest()[:16].upper()


def _typed(service: str, operation: str, request: JsonObject) -> JsonObject:
    """A form's members in the types of the model; what is no number stays for its checks."""
    shape = aws_model.load_shape(service, operation)
    members = {} if shape is None else shape.members  # type: ignore[attr-defined]  # an operation's shape is a StructureShape
    return {
        name: int(value)
        if name in members
        and members[name].type_name in ("integer", "long")
        and str(value).isdecimal()
        else value
        for name, value in request.items()
    }
