"""The EndpointConfig step: CreateEndpointConfig."""

from __future__ import annotations

from mlops.execution.failures import refused
from mlops.execution.names import with_custom_prefix
from mlops.execution.step_run import StepResult, StepRun
from mlops.execution.steps.service_call import call
from mlops.ports import EndpointHost, StepStatus

CREATE = "CreateEndpointConfig"


class EndpointConfigExecutor:
    """Carries out EndpointConfig steps through the endpoint host."""

    def run(self, run: StepRun) -> StepResult:
        request = run.resolve_arguments()
        name = unique_name(run, request.get("EndpointConfigName"))
        host = endpoint_host(run, CREATE)
        config = call(CREATE, host.create_endpoint_config, request | {"EndpointConfigName": name})
        return StepResult(
            status=StepStatus.SUCCEEDED,
            metadata={"EndpointConfig": {"Arn": config["EndpointConfigArn"]}},
            outputs=config,
            detail=name,
            job_name=name,
        )


def unique_name(run: StepRun, given: object) -> str:
    """The name that the service gives: the step's own with a suffix, or one like a job's."""
    if isinstance(given, str) and given:
        return with_custom_prefix(given, run.job_name)
    return run.job_name


def endpoint_host(run: StepRun, operation: str) -> EndpointHost:
    """Where endpoints are.

    Raises:
        StepFailure: this driver has been given no such place.
    """
    if run.parts.endpoints is None:
        raise refused(operation, "there are no endpoints here")
    return run.parts.endpoints
