"""A function's configuration: from requests to botocore's ``FunctionConfiguration``. Pure.

Defaults and wording are the service's own, as recorded answers of it have them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import datetime
from uuid import uuid4

from mlops.functions.code import StoredCode
from mlops.functions.environment import RESERVED
from mlops.functions.log_lines import VERSION
from mlops.functions.refusals import invalid
from mlops.ports import JsonObject

DEFAULT_TIMEOUT_SECONDS = 3
MOST_SECONDS = 900
DEFAULT_MEGABYTES = 128
MOST_MEGABYTES = 10_240

PYTHON_BASE = "public.ecr.aws/lambda/python"
"""What a zip for a Python runtime runs on: AWS's base image of that version, or what the image
table has in its place."""

_CONFIGURABLE = (
    "Description",
    "EphemeralStorage",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "Role",
    "Runtime",
    "Timeout",
    "TracingConfig",
    "VpcConfig",
)
_UNSUPPORTED = {
    "CapacityProviderConfig": "functions run one invocation at a time",
    "CodeSigningConfigArn": "no signature can be checked here",
    "DeadLetterConfig": "it keeps no events that fail",
    "DurableConfig": "it has no durable executions",
    "FileSystemConfigs": "it has no file systems to mount",
    "KMSKeyArn": "nothing is encrypted here",
    "Layers": "it has no layers; put what they hold into the zip, or use an image",
    "Publish": "it keeps no versions, only $LATEST",
    "PublishTo": "it keeps no versions, only $LATEST",
    "SnapStart": "it has no SnapStart",
    "TenancyConfig": "it has no tenants",
}


def check_supported(request: JsonObject) -> None:
    """Refuse what this gateway would otherwise have to ignore; empty values ask for nothing.

    Raises:
        ServiceError: ``InvalidParameterValueException``.
    """
    for name, reason in _UNSUPPORTED.items():
        value = request.get(name)
        if value and value != {"ApplyOn": "None"}:
            raise invalid(f"{name} is not supported by the local gateway: {reason}")
    if request.get("ImageConfig", {}).get("WorkingDirectory"):
        raise invalid(
            "ImageConfig.WorkingDirectory is not supported by the local gateway: set WORKDIR in "
            "the image's Dockerfile"
        )
    timeout, memory = request.get("Timeout", 0), request.get("MemorySize", 0)
    for value, name, most in (
        (timeout, "timeout", MOST_SECONDS),
        (memory, "memorySize", MOST_MEGABYTES),
    ):
        if value > most:
            raise invalid(
                f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy "
                f"constraint: Member must have value less than or equal to {most}"
            )
    variables = request.get("Environment", {}).get("Variables", {})
    reserved = sorted(RESERVED & set(variables))
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment "
            "variables you have provided contains reserved keys that are currently not supported "
            f"for modification. Reserved keys used in this request: {', '.join(reserved)}"
        )


def check_package(request: JsonObject) -> None:
    """Refuse a CreateFunction request whose package type and members do not go together.

    Raises:
        ServiceError: ``InvalidParameterValueException``.
    """
    code = request["Code"]
    if request.get("PackageType", "Zip") == "Image":
        if "ImageUri" not in code:
            raise invalid("Please provide ImageUri for a function with packageType Image.")
        if "Handler" in request or "Runtime" in request:
            raise invalid(
                "Please don't provide Handler or Runtime or Layer when the intent is to create "
                "function of type Image."
            )
        return
    if "ImageUri" in code:
        raise invalid("Please don't provide ImageUri for a function with packageType Zip.")
    if "Runtime" not in request or "Handler" not in request:
        raise invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment "
            "packages."
        )
    check_runtime(request["Runtime"])


def check_runtime(runtime: str) -> None:
    """Raises ServiceError where a zip cannot run here."""
    if not runtime.startswith("python3."):
        raise invalid(
            f"The runtime {runtime} is not supported by the local gateway: a zip runs on python3.x "
            "here; build the function as an image (PackageType Image), which may hold any runtime"
        )


def new_configuration(request: JsonObject, arn: str, now: datetime) -> JsonObject:
    """The configuration that CreateFunction makes."""
    package = request.get("PackageType", "Zip")
    name = request["FunctionName"]
    return {
        "Description": "",
        "Timeout": DEFAULT_TIMEOUT_SECONDS,
        "MemorySize": DEFAULT_MEGABYTES,
        "EphemeralStorage": {"Size": 512},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"},
        "TracingConfig": {"Mode": "PassThrough"},
        **_configured(request),
        "FunctionName": name,
        "FunctionArn": arn,
        "PackageType": package,
        "Architectures": request.get("Architectures") or [this_architecture()],
        "Version": VERSION,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        **revision(now),
    }


def changed_configuration(
    configuration: JsonObject, request: JsonObject, now: datetime
) -> JsonObject:
    """The configuration after UpdateFunctionConfiguration."""
    return {**configuration, **_configured(request), **revision(now)}


def with_zip(configuration: JsonObject, code: StoredCode) -> JsonObject:
    return {**configuration, "CodeSha256": code.sha256, "CodeSize": code.size}


def revision(now: datetime) -> JsonObject:
    """What every change renews."""
    moment = now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}+0000"
    return {"LastModified": moment, "RevisionId": str(uuid4())}


def this_architecture() -> str:
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def base_image(configuration: Mapping[str, object]) -> str:
    """The image that a zip runs on."""
    version = str(configuration["Runtime"]).removeprefix("python")
    return f"{PYTHON_BASE}:{version}"


def _configured(request: JsonObject) -> JsonObject:
    made = {name: request[name] for name in _CONFIGURABLE if request.get(name)}
    if "Description" in request:
        made["Description"] = request["Description"]
    variables = request.get("Environment", {}).get("Variables")
    if variables is not None:
        made["Environment"] = {"Variables": variables}
    if request.get("ImageConfig"):
        made["ImageConfigResponse"] = {"ImageConfig": request["ImageConfig"]}
    return made
