"""`validate`: every problem of a pipeline at once, before anything runs.

    target → definition → tree (or its problems)
           → each step's request, its references left open → what the services would say
           → images, buckets, steps that never run

A definition that cannot be read as a tree has no requests yet: then its own problems are all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops import app
from mlops.definition import PipelineDefinition, parse_definition
from mlops.developing.findings import Finding, Severity, Validation
from mlops.developing.reachability import (
    find_fixed_questions,
    find_unreachable,
    find_unused_parameters,
)
from mlops.developing.step_requests import StepRequest, check_request
from mlops.engine.partial import NotYet, resolve_partly
from mlops.errors import DefinitionError, ResolveError
from mlops.runtimes.standing import Judge, Standing
from mlops.settings import Settings

IMAGE_MEMBERS = ("ImageUri", "TrainingImage")
"""Of the requests of jobs, which run here in the image that stands for it."""
_BUCKET = re.compile(r"s3://([^/]+)")
_ECR = re.compile(r"\d{12}\.dkr\.ecr\.[^/]+/.+")

Refusal = Callable[[str], str | None]
"""Why an image cannot run here; None where it can."""


def validate(settings: Settings, target: str | None = None) -> Validation:
    """Find every problem of TARGET, or of the lab's pipeline where it is None.

    Nothing runs, and of the state folder only what compiling a Python target keeps is changed.

    Raises:
        TargetError, DataError: the target gives no pipeline.
    """
    try:
        pipeline = app.backend(settings, "local").compile(target)
    except DefinitionError as error:  # a file that is no JSON
        return Validation(str(target), tuple(_findings(error)))
    return Validation(
        pipeline.name,
        check_definition(
            pipeline.definition,
            buckets=lambda: known_buckets(settings),
            image_refusal=_refusal(app.image_judge(settings)),
        ),
    )


def check_definition(
    text: str,
    *,
    buckets: Callable[[], Collection[str]],
    image_refusal: Refusal,
) -> tuple[Finding, ...]:
    """Every problem of a definition, errors first; `buckets` is asked once, where it matters."""
    try:
        definition = parse_definition(text)
    except DefinitionError as error:
        return tuple(_findings(error))
    found: list[Finding] = []
    requests = list(_requests(definition, found))
    for asked in requests:
        found += check_request(asked)
    found += _check_images(requests, image_refusal)
    found += _check_buckets(requests, buckets)
    found += find_unreachable(definition)
    found += find_fixed_questions(definition)
    found += find_unused_parameters(definition)
    return tuple(sorted(found, key=lambda each: each.severity is Severity.WARNING))


def _findings(error: DefinitionError) -> Iterator[Finding]:
    for each in error.problems:
        yield Finding(Severity.ERROR, each.path, each.message, each.only_here)


def known_buckets(settings: Settings) -> frozenset[str]:
    """The buckets there are, and those that every run makes."""
    own = {settings.artifact_bucket, settings.raw_data_bucket}
    objects = settings.store / "objects"
    # Buckets are folders there; to look at them starts no gateway.
    there = {each.name for each in objects.iterdir() if each.is_dir()} if objects.is_dir() else ()
    return frozenset(own.union(there))


def _refusal(judge: Judge) -> Refusal:
    def refusal(image: str) -> str | None:
        found = judge(image)
        if found.state is not Standing.MISSING:
            return None
        return f"No image stands for {image} here: {found.reason}"

    return refusal


@dataclass(frozen=True, slots=True)
class _BeforeAnyStep:
    """A scope in which no step has run, and parameters have their defaults."""

    parameters: Mapping[str, Any]
    execution_variables: Mapping[str, str]

    def step_outputs(self, step_name: str) -> Mapping[str, Any]:
        raise NotYet(f"{step_name} has not run", step_name)

    def read_text(self, s3_uri: str) -> str:
        raise NotYet(f"nobody knows what {s3_uri} will hold")


class _Parameters(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise NotYet(f"the parameter {name} has no default")


class _Variables(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise NotYet(f"Execution.{name} comes with an execution")


def _requests(definition: PipelineDefinition, found: list[Finding]) -> Iterator[StepRequest]:
    defaults = {
        parameter.name: parameter.default
        for parameter in definition.parameters
        if parameter.default is not None
    }
    scope = _BeforeAnyStep(_Parameters(defaults), _Variables())
    for step in definition.all_steps():
        try:
            request = resolve_partly(step.arguments, scope)
        except ResolveError as error:
            where = f"{step.location}.Arguments"
            found.append(Finding(Severity.ERROR, error.where or where, error.what))
        else:
            if isinstance(request, dict):
                yield StepRequest(step, request)


def _check_images(requests: Iterable[StepRequest], refusal: Refusal) -> Iterator[Finding]:
    for path, value in _texts(requests):
        if path.endswith(IMAGE_MEMBERS):
            reason = refusal(value)
            if reason is not None:
                yield Finding(Severity.ERROR, path, reason, only_here=True)
            elif not _ECR.fullmatch(value):
                # Developer guide, "Docker containers": SageMaker pulls images from Amazon ECR.
                yield Finding(
                    Severity.WARNING,
                    path,
                    f"The image {value} runs here; SageMaker takes images of Amazon ECR",
                )


def _check_buckets(
    requests: Iterable[StepRequest], buckets: Callable[[], Collection[str]]
) -> Iterator[Finding]:
    places = [
        (path, match[1]) for path, value in _texts(requests) if (match := _BUCKET.match(value))
    ]
    known = buckets() if places else ()
    for path, bucket in places:
        if bucket not in known:
            yield Finding(
                Severity.ERROR,
                path,
                f"There is no bucket {bucket!r} here; make it, or correct the address",
                only_here=True,
            )


def _texts(requests: Iterable[StepRequest]) -> Iterator[tuple[str, str]]:
    for asked in requests:
        for path, value in asked.places():
            if isinstance(value, str):
                yield path, value
