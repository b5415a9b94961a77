"""SageMaker in the user's account: not there yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from mlops.authoring import CompiledPipeline
from mlops.backends.base import DEFAULTS, StartOptions
from mlops.errors import UsageError


class CloudBackend:
    """Refuses, and says what works today; the same definition is what the account will get."""

    name = "cloud"

    def compile(self, target: str | None) -> CompiledPipeline:
        _refuse()

    def submit(
        self,
        pipeline: CompiledPipeline,
        parameters: Mapping[str, str],
        options: StartOptions = DEFAULTS,
    ) -> str:
        _refuse()

    def describe(self, execution_arn: str) -> dict[str, Any]:
        _refuse()

    def stop(self, execution_arn: str) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise UsageError(
        "The cloud backend is not part of this version",
        where="--backend cloud",
        next_step="run with --backend local; `mlops compile` writes the definition that "
        "SageMaker's CreatePipeline takes, for the account_id, region and role_arn of the settings",
    )
