"""What a request asks a stack to be made of: template, parameters, tags, capabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.cloudformation.parameters import bind
from mlops.services.cloudformation.records import Inputs
from mlops.services.cloudformation.template import Template, parse_template
from mlops.services.cloudformation.types import TYPES, Aws

LONGEST_BODY = 51_200
LONGEST_IN_S3 = 1024 * 1024
"""Bytes of a template (user guide, "Understand CloudFormation quotas")."""

_IAM, _NAMED = "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads them; templates and stored parameters come through the gateway's own door."""

    aws: Aws
    url: Callable[[], str]

    def template_text(self, request: JsonObject, previous: str | None = None) -> str:
        """The template that a request gives.

        Raises:
            ServiceError: ``ValidationError``: none or several, too long, or not to be read.
        """
        body, url = request.get("TemplateBody"), request.get("TemplateURL")
        again = bool(request.get("UsePreviousTemplate"))
        if [body is not None, url is not None, again].count(True) != 1:
            raise _invalid("Either Template URL or Template Body must be specified.")
        if body is not None:
            if len(body.encode()) > LONGEST_BODY:
                raise _invalid(
                    "1 validation error detected: Value at 'templateBody' failed to satisfy "
                    f"constraint: Member must have length less than or equal to {LONGEST_BODY}"
                )
            return str(body)
        if url is not None:
            return self._fetched(url)
        if previous is None:
            raise _invalid("There is no previous template to use")
        return previous

    def _fetched(self, url: str) -> str:
        bucket, key, version = self._place(url)
        more = {"VersionId": version} if version else {}
        try:
            answer = self.aws.call("s3", "GetObject", Bucket=bucket, Key=key, **more)
        except ServiceError as error:
            raise _invalid(f"S3 error: {error.what} ({url})") from error
        with answer["Body"] as body:
            content = body.read(LONGEST_IN_S3 + 1)
        if len(content) > LONGEST_IN_S3:
            raise _invalid(f"Template may not exceed {LONGEST_IN_S3} bytes in size.")
        try:
            return str(content.decode())
        except UnicodeDecodeError as error:
            raise _invalid(f"Template format error: the template is not UTF-8: {error}") from error

    def _place(self, url: str) -> tuple[str, str, str | None]:
        """Bucket, key and version of an S3 address: of this gateway, or in an amazonaws.com form,
        which means the bucket of that name here.
        """
        parts = urlsplit(url)
        version = parse_qs(parts.query).get("versionId", [None])[0]
        host, path = parts.hostname or "", unquote(parts.path).lstrip("/")
        own = urlsplit(self.url())
        head = host.partition(".s3")[0]
        if parts.scheme == "s3":
            bucket, key = host, path
        elif parts.port == own.port or host.startswith("s3"):
            bucket, _, key = path.partition("/")
        elif host.endswith(".amazonaws.com") and head != host:
            bucket, key = head, path
        else:
            raise _invalid("TemplateURL must be a supported URL.")
        if not bucket or not key:
            raise _invalid("TemplateURL must reference a valid S3 object to which you have access.")
        return bucket, key, version

    def read(self, request: JsonObject, previous: Inputs | None = None) -> tuple[Inputs, Template]:
        """All that a request gives; `previous` is what the stack is made of now.

        Raises:
            ServiceError: something of it is wrong.
        """
        text = self.template_text(request, None if previous is None else previous.template)
        template = parse_template(text)
        given = _given(request.get("Parameters", []), previous)
        texts, values = bind(template.parameters, given, self._stored)
        capabilities = request.get("Capabilities", [])
        check_capabilities(template, capabilities)
        tags = previous.tags if previous is not None and "Tags" not in request else None
        inputs = Inputs(
            template=text,
            parameters=texts,
            values=values,
            tags=_tags(request.get("Tags", [])) if tags is None else tags,
            capabilities=capabilities,
            description=template.description,
            hidden=[name for name, each in template.parameters.items() if each.no_echo],
        )
        return inputs, template

    def _stored(self, name: str) -> str:
        try:
            value: str = self.aws.call("ssm", "GetParameter", Name=name)["Parameter"]["Value"]
        except ServiceError as error:
            raise _invalid(
                f"Unable to fetch parameters [{name}] from parameter store for this account: "
                f"{error.what}"
            ) from error
        return value


def _given(parameters: list[JsonObject], previous: Inputs | None) -> dict[str, str]:
    """The values that a request gives, with those that it wants to stay as they are."""
    given: dict[str, str] = {}
    for parameter in parameters:
        name = parameter.get("ParameterKey")
        if not name:
            raise _invalid("Every parameter needs a ParameterKey")
        if parameter.get("UsePreviousValue"):
            if "ParameterValue" in parameter:
                raise _invalid(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as "
                    "true and non empty value for a parameter"
                )
            if previous is None or name not in previous.parameters:
                raise _invalid(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as "
                    "true for a parameter key not in the previous template"
                )
            given[name] = previous.parameters[name]
        elif "ParameterValue" in parameter:
            given[name] = parameter["ParameterValue"]
    return given


def _tags(tags: list[JsonObject]) -> dict[str, str]:
    made = {tag["Key"]: tag["Value"] for tag in tags}
    if len(made) < len(tags):
        raise _invalid("Duplicate tag keys found. Please note that tag keys are case sensitive.")
    reserved = [key for key in made if key.lower().startswith("aws:")]
    if reserved:
        raise _invalid(f"aws: prefixed tag key names are not allowed for external use: {reserved}")
    return made


def needed_capabilities(template: Template) -> tuple[list[str], list[str]]:
    """The capability that a template needs, if any, and the resource types that it needs it for.

    Resources with names of their own need the stronger one (API reference, CreateStack,
    ``Capabilities``).
    """
    iam = [
        (each.type, kind.name_property in each.properties)
        for each in template.resources.values()
        if (kind := TYPES.get(each.type)) is not None and kind.is_iam
    ]
    if not iam:
        return [], []
    named = any(own for _, own in iam)
    return [_NAMED if named else _IAM], sorted({name for name, _ in iam})


def check_capabilities(template: Template, given: list[str]) -> None:
    """Raises ServiceError: ``InsufficientCapabilitiesException``."""
    needed, _ = needed_capabilities(template)
    if needed and _NAMED not in given and not (needed == [_IAM] and _IAM in given):
        raise ServiceError(
            "InsufficientCapabilitiesException", f"Requires capabilities : [{needed[0]}]"
        )


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationError", message)


def refuse(request: JsonObject, reasons: dict[str, str]) -> None:
    """Refuse the members of a request that would otherwise have to be ignored.

    Raises:
        ServiceError: ``ValidationError`` that names all of them.
    """
    found: list[Any] = [
        f"{name} is refused by the local gateway: {reason}"
        for name, reason in reasons.items()
        if request.get(name)
    ]
    if found:
        raise _invalid("; ".join(found))
