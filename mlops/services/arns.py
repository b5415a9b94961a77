"""Amazon Resource Names as SageMaker forms them.

The service model gives the patterns. Case: answers of 2020 pasted publicly have the names in
lower case (``pipeline/abalonepipeline``), the developer guide's newer event examples keep it
(``pipeline/myPipeline-123/execution/p4jn9xou8a8s``). The case is kept here, so that a name can be
read out of its ARN.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arns:
    """The ARNs of one account and region."""

    region: str
    account_id: str

    def _of(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account_id}:{kind}/{name}"

    def pipeline(self, name: str) -> str:
        return self._of("pipeline", name)

    def model(self, name: str) -> str:
        return self._of("model", name)

    def model_package_group(self, name: str) -> str:
        return self._of("model-package-group", name)

    def model_package(self, group_name: str, version: int) -> str:
        return self._of("model-package", f"{group_name}/{version}")

    def job(self, kind: str, name: str) -> str:
        """Of a job of `kind`: ``processing-job``, ``training-job``."""
        return self._of(kind, name)

    def endpoint_config(self, name: str) -> str:
        return self._of("endpoint-config", name)

    def endpoint(self, name: str) -> str:
        return self._of("endpoint", name)

    @property
    def user_context(self) -> dict[str, dict[str, str]]:
        """Who made a thing (``UserContext``): locally there is one user, the account's root."""
        return {
            "IamIdentity": {
                "Arn": f"arn:aws:iam::{self.account_id}:root",
                "PrincipalId": self.account_id,
            }
        }


def resource_name(name_or_arn: str) -> str:
    """The name in ``name`` or ``arn:…:kind/name``; for a version, ``group/version``."""
    if name_or_arn.startswith("arn:"):
        return name_or_arn.split(":", 5)[-1].partition("/")[2]
    return name_or_arn
