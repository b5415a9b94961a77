"""Every error that this project raises on purpose, and the exit code that each one ends in.

    MlopsError
    ├── UsageError                 2   the command, its options or its input are wrong
    │   ├── SettingsError              a setting has a wrong name, type or value
    │   ├── DefinitionError            a pipeline definition breaks rules; carries every Problem
    │   ├── ParameterError             a pipeline parameter is unknown, missing or wrong
    │   ├── TargetError                TARGET names nothing that gives a pipeline
    │   └── DataError                  a data file or its descriptor cannot be used
    ├── EnvironmentLacks           3   this machine lacks something that the run needs
    │   ├── RuntimeUnavailable         no engine, no namespaces, or a job that cannot run here
    │   ├── ImageUnavailable           an image is neither here nor to be had
    │   ├── GatewayUnavailable         the gateway does not start, answer or match
    │   ├── PortInUse                  a fixed port is taken
    │   └── DiskFull                   nothing can be written
    ├── ExecutionFailed            1   the pipeline ran and did not succeed
    ├── ResolveError               1   a reference, function or condition has no value at run time
    ├── ImpossibleMove             1   the engine was told what cannot be: a defect of its driver
    ├── JobError                   1   a job could not be run to an exit status
    │   └── ExitStatusLost             the job ended and nobody knows how: never a success
    ├── StoreError                 1   the object or state store refuses
    │   ├── NoSuchBucket
    │   ├── NoSuchKey
    │   ├── InvalidKey                 a key or bucket name that would leave the store
    │   ├── NoSuchBlob                 no content of that digest
    │   └── UploadInUse                two at once add to one upload
    └── ServiceError               1   an AWS error answer: code, HTTP status, message

``KeyboardInterrupt`` ends in 130. Only ``mlops.cli`` turns an error into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class MlopsError(Exception):
    """What happened, where, and what to do next.

    ``str(error)`` is the whole message for a person: the first line says what happened, then the
    place and the next step follow on lines of their own, where they are known.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, where: str | None = None, next_step: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(what)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.next_step:
            lines.append(f"  next:  {self.next_step}")
        return "\n".join(lines)


class UsageError(MlopsError):
    exit_code = 2


class SettingsError(UsageError):
    pass


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule in a document. ``path`` is a JSON path such as ``Steps[2].Arguments``."""

    path: str
    message: str
    only_here: bool = False
    """SageMaker takes it; this project cannot run it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


MOST_PROBLEMS_SHOWN = 50


class DefinitionError(UsageError):
    """A pipeline definition that SageMaker would refuse, with every problem found in it.

    ``problems`` has them all; the message shows the first ones, in the order they were found.
    """

    def __init__(self, problems: Sequence[Problem], *, next_step: str | None = None) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = (
            "The pipeline definition has a problem"
            if count == 1
            else (f"The pipeline definition has {count} problems")
        )
        lines = [f"  - {problem}" for problem in self.problems[:MOST_PROBLEMS_SHOWN]]
        if count > MOST_PROBLEMS_SHOWN:
            lines.append(f"  … and {count - MOST_PROBLEMS_SHOWN} more")
        super().__init__("\n".join([head + ":", *lines]), next_step=next_step)


class ParameterError(UsageError):
    pass


class TargetError(UsageError):
    pass


class DataError(UsageError):
    pass


class EnvironmentLacks(MlopsError):
    exit_code = 3


class RuntimeUnavailable(EnvironmentLacks):
    pass


class ImageUnavailable(EnvironmentLacks):
    pass


class GatewayUnavailable(EnvironmentLacks):
    pass


class PortInUse(EnvironmentLacks):
    pass


class DiskFull(EnvironmentLacks):
    pass


class ExecutionFailed(MlopsError):
    pass


class ResolveError(MlopsError):
    pass


class ImpossibleMove(MlopsError):
    pass


class JobError(MlopsError):
    pass


class ExitStatusLost(JobError):
    pass


class StoreError(MlopsError):
    pass


class NoSuchBucket(StoreError):
    pass


class NoSuchKey(StoreError):
    pass


class InvalidKey(StoreError):
    pass


class NoSuchBlob(StoreError):
    pass


class UploadInUse(StoreError):
    pass


class ServiceError(MlopsError):
    """An error answer of an AWS operation, as botocore's clients see it."""

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        self.code = code
        self.status = status
        super().__init__(message)
