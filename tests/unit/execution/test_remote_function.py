"""Training jobs that run a function through the SDK's driver."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.execution.failures import job_failure_reason
from mlops.execution.remote_function import (
    CHANNEL,
    explained,
    is_remote_function,
    remote_function_environment,
)
from mlops.ports import JobOutcome

DRIVER = ["/bin/bash", f"/opt/ml/input/data/{CHANNEL}/job_driver.sh"]


def request(*entrypoint: str) -> dict[str, Any]:
    return {"AlgorithmSpecification": {"ContainerEntrypoint": list(entrypoint)}}


def test_only_the_sdks_driver_makes_a_job_one() -> None:
    assert is_remote_function(request(*DRIVER))
    assert not is_remote_function(request("/bin/bash", "/opt/ml/input/data/code/job_driver.sh"))
    assert not is_remote_function({"AlgorithmSpecification": {"TrainingImage": "i"}})


def test_in_processes_pip_asks_no_index() -> None:
    """The environment that jobs share with the project stays as it is."""
    assert remote_function_environment(request(*DRIVER), "process")["PIP_NO_INDEX"] == "1"
    assert remote_function_environment(request(*DRIVER), "docker") == {"LOGNAME": "root"}
    assert remote_function_environment(request("train"), "process") == {}


@pytest.mark.parametrize(
    ("said", "tail"),
    [
        ("RuntimeEnvironmentError: Python version found in the container is '3.9'", ()),
        ("", ("/usr/bin/python: No module named sagemaker",)),
        ("RuntimeEnvironmentError: " + "x" * 5000 + " at the end", ()),
    ],
)
def test_what_the_image_lacks_is_told_with_the_next_step(said: str, tail: tuple[str, ...]) -> None:
    text = explained(request(*DRIVER), said, tail)
    reason = job_failure_reason(JobOutcome(exit_status=1), text, tail)
    assert "Name an image_uri" in reason
    assert (said or tail[0])[-10:] in reason
    assert len(reason) <= 1024


def test_a_functions_own_error_stays_as_it_is() -> None:
    assert explained(request(*DRIVER), "ValueError: no", ()) == "ValueError: no"
    assert explained(request("train"), "No module named x", ()) == "No module named x"
