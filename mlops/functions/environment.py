"""The variables that a function finds: pure.

AWS's documentation: "Defined runtime environment variables".
"""

from __future__ import annotations

from collections.abc import Mapping

from mlops.functions.log_lines import VERSION
from mlops.surroundings import Surroundings, common_environment

RESERVED = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
"""What Lambda sets itself, and lets nobody else set."""


def function_environment(
    configuration: Mapping[str, object],
    surroundings: Surroundings,
    *,
    log_stream: str,
    task_root: str | None,
) -> dict[str, str]:
    """The variables of a function with that FunctionConfiguration, less AWS_LAMBDA_RUNTIME_API.

    `task_root` is where the code of a zip is; an image knows it of its own.
    """
    name = str(configuration["FunctionName"])
    environment = configuration.get("Environment")
    own = environment.get("Variables", {}) if isinstance(environment, Mapping) else {}
    variables = {
        "TZ": ":UTC",
        **common_environment(surroundings),
        **own,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration["MemorySize"]),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": VERSION,
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_SESSION_TOKEN": "local",
        **_logging(configuration),
    }
    if task_root is not None:
        variables["LAMBDA_TASK_ROOT"] = task_root
        variables["_HANDLER"] = str(configuration["Handler"])
        variables["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{configuration['Runtime']}"
    return variables


def _logging(configuration: Mapping[str, object]) -> dict[str, str]:
    """How the runtime client writes what the handler logs."""
    logging = configuration.get("LoggingConfig")
    told = logging if isinstance(logging, Mapping) else {}
    variables = {}
    if told.get("LogFormat") == "JSON":
        variables["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
    if "ApplicationLogLevel" in told:
        variables["AWS_LAMBDA_LOG_LEVEL"] = str(told["ApplicationLogLevel"])
    return variables
