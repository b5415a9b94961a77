"""Fixtures to test a pipeline with: a gateway of its own for each test (docs/testing.md).

pytest loads this module at every start where the package is installed, so it imports nothing that
a test does not ask for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mlops.testing import PipelineRunner, SagemakerLocal

RUNTIME_OPTION = "sagemaker_local_runtime"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where a project's pytest configuration says how jobs run."""
    parser.addini(
        RUNTIME_OPTION,
        "How the jobs of sagemaker_local run: auto, docker or process (default: the settings').",
        default=None,
    )


@pytest.fixture
def sagemaker_local(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SagemakerLocal]:
    """A fresh gateway on a state folder of its own; every AWS client made meanwhile talks to it."""
    from mlops.testing import opened

    folder = tmp_path_factory.mktemp("sagemaker-local")
    with opened(folder, request.config.getini(RUNTIME_OPTION)) as local:
        yield local


@pytest.fixture
def local_pipeline_session(sagemaker_local: SagemakerLocal) -> Any:
    """The SDK's LocalPipelineSession on that gateway, for the pipeline under test."""
    return sagemaker_local.pipeline_session()


@pytest.fixture
def run_pipeline(sagemaker_local: SagemakerLocal) -> PipelineRunner:
    """``run_pipeline(pipeline, parameters)``: creates it, runs it to its end, tells what came."""
    return sagemaker_local.run_pipeline
