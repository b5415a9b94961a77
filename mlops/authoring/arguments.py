"""What a pipeline function is given: what is known here, by the names of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from mlops.errors import TargetError
from mlops.settings import Settings


def known_values(session: Any, settings: Settings) -> dict[str, Any]:
    """Every parameter name that can be supplied.

    ``session`` and ``settings`` are this project's form; ``region, role, default_bucket`` that of
    the SageMaker project templates' ``get_pipeline``; the others are common in existing projects.
    """
    groups: dict[tuple[str, ...], Any] = {
        ("session", "sagemaker_session", "pipeline_session"): session,
        ("settings",): settings,
        ("region", "aws_region", "region_name"): settings.region,
        ("role", "role_arn", "execution_role", "sagemaker_role"): settings.execution_role_arn,
        ("default_bucket", "bucket", "bucket_name", "s3_bucket"): settings.artifact_bucket,
        ("account", "account_id", "aws_account_id"): settings.account_id,
        ("boto_session", "boto3_session"): session.boto_session,
    }
    return {name: value for names, value in groups.items() for name in names}


def choose_arguments(function: Callable[..., Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments to call `function` with.

    A parameter with a default keeps it, unless the default is None: the function's author meant
    what they wrote.

    Raises:
        TargetError: the function needs something that is not known.
    """
    arguments: dict[str, Any] = {}
    unknown: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        required = parameter.default is parameter.empty
        if parameter.kind is parameter.POSITIONAL_ONLY or (required and name not in known):
            unknown += [name] * required
        elif required or (parameter.default is None and name in known):
            arguments[name] = known[name]
    if unknown:
        function_name = getattr(function, "__name__", repr(function))
        raise TargetError(
            f"{function_name}() needs {', '.join(unknown)}, which cannot be supplied",
            where=_place_of(function),
            next_step=f"give it a default; what is supplied: {', '.join(known)}",
        )
    return arguments


def _place_of(function: Callable[..., Any]) -> str | None:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else None
