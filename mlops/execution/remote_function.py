"""Training jobs that the SDK makes of a function: ``@step`` and ``@remote``.

Such a job runs ``job_driver.sh`` from a channel that the SDK has uploaded
(sagemaker/remote_function/job.py; sagemaker/core/remote_function/job.py in v3). The script
compares the Python version with the client's, installs a requirements file that the SDK writes
(the SDK itself is in it), and calls the pickled function with the SDK that the image then has.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops.ports import JsonObject

CHANNEL = "sagemaker_remote_function_bootstrap"
_LONGEST_CAUSE = 500  # characters, so that a FailureReason of 1024 holds the advice, too
_LACKS = ("RuntimeEnvironmentError", "No module named")


def is_remote_function(request: JsonObject) -> bool:
    """Whether a CreateTrainingJob request runs a function through the SDK's driver."""
    entrypoint = request["AlgorithmSpecification"].get("ContainerEntrypoint", ())
    return any(f"/{CHANNEL}/" in str(word) for word in entrypoint)


def remote_function_environment(request: JsonObject, runtime: str) -> dict[str, str]:
    """Variables without which the driver does not get along here; the request's own win.

    The driver changes the permissions of the job's folders by `sudo` unless it is root; here they
    are the job's own, whoever that is. In processes the image is the project's environment, which
    a job must not change: `pip` finds there what is there, and is sent to no index.
    """
    if not is_remote_function(request):
        return {}
    variables = {"LOGNAME": "root"}
    if runtime == "process":
        variables |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/opt/ml/input/data/{CHANNEL}"}
    return variables


def explained(request: JsonObject, said: str, log_tail: Sequence[str]) -> str:
    """What a failed job has said, led by what to do where its image lacks what the driver needs."""
    text = said.strip() or "\n".join(log_tail)
    if not is_remote_function(request) or not any(lack in text for lack in _LACKS):
        return said
    return (
        "the image of this @step function lacks what the SDK needs to run it: the same Python "
        "version as here, the SageMaker SDK, and the function's own packages. Name an image_uri "
        "that has them (or let the SDK's requirements be installed from a package index); in the "
        "process runtime they have to be in the project's environment. The job said: "
        f"{text[-_LONGEST_CAUSE:]}"
    )
