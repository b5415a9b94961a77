"""Lambda's refusals, by the names and statuses of botocore's lambda model."""

from __future__ import annotations

from mlops.errors import ImageUnavailable, MlopsError, RuntimeUnavailable, ServiceError


def invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValueException", message)


def conflict(message: str) -> ServiceError:
    return ServiceError("ResourceConflictException", message, status=409)


def not_startable(function: str, error: MlopsError) -> ServiceError:
    """Why an invocation found no environment to run in: for what this machine lacks.

    Not one of the service's 5xx errors, which clients try again: the image does not come by itself.
    """
    if isinstance(error, ServiceError):
        return error
    what = f"The function {function} cannot be started here: {error}"
    if isinstance(error, (ImageUnavailable, RuntimeUnavailable)):
        return invalid(what)
    return ServiceError(type(error).__name__, what)
