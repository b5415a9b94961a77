"""A function's name in all the forms that requests may have it in.

botocore lambda ``FunctionName``: the name alone, ``account:function:name``, or the whole ARN, each
with ``:qualifier`` or without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlops.errors import ServiceError
from mlops.functions.log_lines import VERSION

_FORM = re.compile(
    r"(?:arn:[a-zA-Z-]+:lambda:)?(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-\d):)?(?:(?P<account>\d{12}):)?"
    r"(?:function:)?(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True, slots=True)
class FunctionNames:
    """The functions of one account and region."""

    region: str
    account_id: str

    def arn(self, name: str) -> str:
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{name}"

    def read(self, given: str, qualifier: str | None = None) -> str:
        """The name in any of its forms.

        Raises:
            ServiceError: it is no name; or of another account or region, or of a version: those
                are not here (``ResourceNotFoundException``).
        """
        found = _FORM.fullmatch(given)
        if found is None:
            raise ServiceError("InvalidParameterValueException", f"{given} is no function name")
        asked = qualifier or found["qualifier"] or VERSION
        elsewhere = found["region"] not in (None, self.region) or found["account"] not in (
            None,
            self.account_id,
        )
        if elsewhere or asked != VERSION:
            raise self.missing(given if elsewhere else f"{self.arn(found['name'])}:{asked}")
        return found["name"]

    def missing(self, arn: str) -> ServiceError:
        return ServiceError("ResourceNotFoundException", f"Function not found: {arn}", status=404)
