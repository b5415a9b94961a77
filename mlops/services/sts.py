"""The one STS operation that SDKs need to find the account."""

from __future__ import annotations

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.settings import Settings


class StsService:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        """Answer an STS operation.

        Raises:
            ServiceError: ``NotImplemented`` for everything but GetCallerIdentity.
        """
        if operation != "GetCallerIdentity":
            raise ServiceError(
                "NotImplemented",
                f"The local gateway does not answer sts {operation}, only GetCallerIdentity: "
                "credentials are not checked here, any will do",
                status=501,
            )
        account = self._settings.account_id
        # The form of a caller that has assumed the execution role: SDK v2's
        # get_execution_role() reads the role out of it.
        role = self._settings.execution_role_arn.rpartition("/")[2]
        return {
            "Account": account,
            "UserId": "AROALOCAL:local",
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/local",
        }
