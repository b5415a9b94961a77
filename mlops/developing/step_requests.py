"""What the services would say to a step's request, with its references left open. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from mlops.aws_model import find_problems, without_nulls
from mlops.definition import Step, StepType, render_text
from mlops.developing.findings import Finding, Severity
from mlops.errors import MlopsError
from mlops.execution.steps import EXECUTORS
from mlops.execution.steps.job import JobExecutor
from mlops.unknown import UNKNOWN

OTHER_OPERATIONS: Mapping[StepType, tuple[str, str | None]] = {
    StepType.MODEL: ("CreateModel", "ModelName"),
    StepType.REGISTER_MODEL: ("CreateModelPackage", None),
    StepType.ENDPOINT_CONFIG: ("CreateEndpointConfig", "EndpointConfigName"),
    StepType.ENDPOINT: ("CreateEndpoint", "EndpointName"),
}
"""By step type: the operation of a step that is no job, and the member with the name it gives."""

_TEXTS = ("HyperParameters", "Environment")  # maps of strings in every request that has them
_SOMETHING = "s3://bucket/key"
_STAND_INS: Mapping[str, Any] = {
    "S3Uri": _SOMETHING,
    "S3OutputPath": _SOMETHING,
    "ImageUri": "image",
    "TrainingImage": "image",
    "RoleArn": "role",
    "InstanceType": "ml.m5.large",
    "InstanceCount": 1,
    "VolumeSizeInGB": 1,
    "MaxRuntimeInSeconds": 1,
}
"""Members whose value, once known, is not what the checks beyond the service model look at."""


@dataclass(frozen=True, slots=True)
class StepRequest:
    """A step, its request as far as it is known, and where it stands in the definition."""

    step: Step
    request: dict[str, Any]

    @property
    def path(self) -> str:
        return f"{self.step.location}.Arguments"

    def places(self) -> Iterator[tuple[str, Any]]:
        """Every value in the request that is no list and no object, with its JSON path."""
        yield from _places(self.request, self.path)


def check_request(asked: StepRequest) -> Iterator[Finding]:
    """What botocore's model of the operation, and the operation here, have against a request."""
    executor = EXECUTORS.get(asked.step.type)
    named: str | None
    if isinstance(executor, JobExecutor):
        operation, named = executor.operation, executor.name_member
    elif asked.step.type in OTHER_OPERATIONS:
        operation, named = OTHER_OPERATIONS[asked.step.type]
    else:
        return
    request = _as_sent(asked.request, named)
    problems = find_problems("sagemaker", operation, request)
    for problem in problems:
        yield Finding(Severity.ERROR, _path_in(problem, request, asked.path), problem)
    if isinstance(executor, JobExecutor) and not problems:
        yield from _check_further(executor, request, asked.path)


def _check_further(executor: JobExecutor, request: dict[str, Any], path: str) -> Iterator[Finding]:
    filled = _filled(request, "")
    if filled is UNKNOWN:
        return
    try:
        executor.check(without_nulls(filled))
    except MlopsError as error:
        text = str(error).partition("Error Details: ")[2] or str(error)
        only_here = "does not run locally" in text
        yield Finding(Severity.ERROR, path, text, only_here)


def _as_sent(request: Mapping[str, Any], named: str | None) -> dict[str, Any]:
    """The request with what the pipeline service puts into it: texts, and a name of its own."""
    sent = deepcopy(dict(request))
    for member in _TEXTS:
        values = sent.get(member)
        if isinstance(values, dict):
            sent[member] = {name: _as_text(value) for name, value in values.items()}
    if named is not None:
        prefix = sent.get(named)
        sent[named] = f"{prefix[:52]}-x" if isinstance(prefix, str) and prefix else "name"
    return sent


def _as_text(value: Any) -> Any:
    return render_text(value) if isinstance(value, (bool, int, float)) else value


def _filled(value: Any, key: str) -> Any:
    """`value` with stand-ins; ``UNKNOWN`` where one is missing whose value the checks look at."""
    if value is UNKNOWN:
        return _STAND_INS.get(key, UNKNOWN)
    if isinstance(value, dict):
        if key in _TEXTS:
            return {name: "x" if item is UNKNOWN else item for name, item in value.items()}
        members = {name: _filled(item, name) for name, item in value.items()}
        return UNKNOWN if any(item is UNKNOWN for item in members.values()) else members
    if isinstance(value, list):
        items = [_filled(item, key) for item in value]
        return UNKNOWN if any(item is UNKNOWN for item in items) else items
    return value


def _places(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _places(item, f"{path}[{index}]")
    else:
        yield path, value


def _path_in(problem: str, request: Any, path: str) -> str:
    """The JSON path of what a problem of `aws_model` names in its Java form.

    ``inputDataConfig.1.member.channelName`` is ``InputDataConfig[0].ChannelName``.
    """
    match = re.search(r"' at '([^']+)'|null at '([^']+)'", problem)
    place = (match[1] or match[2]) if match else ""
    return path if place in ("", "request") else path + _walked(place, request)


def _walked(place: str, value: Any) -> str:
    if not place:
        return ""
    if isinstance(value, dict):
        for key in sorted(value, key=len, reverse=True):
            for written in (key[:1].lower() + key[1:], f"{key}.member", key):
                if place == written or place.startswith(f"{written}."):
                    return f".{key}" + _walked(place[len(written) + 1 :], value[key])
    index, _, rest = place.partition(".member")
    if isinstance(value, list) and index.isdigit() and int(index) <= len(value):
        return f"[{int(index) - 1}]" + _walked(rest.lstrip("."), value[int(index) - 1])
    return f".{place[:1].upper()}{place[1:]}"
