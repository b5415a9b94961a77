"""The Endpoint step: CreateEndpoint, or UpdateEndpoint where one of that name exists, and its wait.

"The pipeline chooses create-vs-update based on endpoint existence" (SDK v2, endpoint_step.py). A
new endpoint's name is made unique, as the service does (the SDK's integration test of the step):
who wants one endpoint to be updated again and again creates it beforehand under its plain name.
"""

from __future__ import annotations

from mlops.errors import ServiceError
from mlops.execution.failures import StepFailure
from mlops.execution.step_run import Announcement, StepResult, StepRun
from mlops.execution.steps.endpoint_config import endpoint_host, unique_name
from mlops.execution.steps.service_call import call
from mlops.execution.stopping import StepStopped
from mlops.ports import EndpointHost, JsonObject, StepStatus

CREATE, UPDATE = "CreateEndpoint", "UpdateEndpoint"
UPDATED_MEMBERS = ("EndpointConfigName", "DeploymentConfig")
_LOOK_SECONDS = 0.2  # how soon a stop is noticed


class EndpointExecutor:
    """Carries out Endpoint steps through the endpoint host."""

    def run(self, run: StepRun) -> StepResult:
        request = run.resolve_arguments()
        host = endpoint_host(run, CREATE)
        created = not _exists(host, request.get("EndpointName"))
        started = _create(run, host, request) if created else _update(host, request)
        name, metadata = started["EndpointName"], {"Endpoint": {"Arn": started["EndpointArn"]}}
        run.announce(Announcement(name, metadata, started))
        began = run.parts.clock.monotonic()
        endpoint = _wait(run, host, name, created=created)
        seconds = run.parts.clock.monotonic() - began
        wanted = request["EndpointConfigName"]
        served = endpoint["EndpointStatus"] == "InService"
        if not served or endpoint.get("EndpointConfigName") != wanted:
            reason = endpoint.get("FailureReason", f"it is {endpoint['EndpointStatus']}")
            raise StepFailure(f"ClientError: Endpoint {name} is not in service: {reason}")
        return StepResult(
            status=StepStatus.SUCCEEDED,
            metadata=metadata,
            outputs=endpoint,
            detail=f"{name} {'created' if created else 'updated'} · InService in {seconds:.1f} s",
            job_name=name,
        )


def _exists(host: EndpointHost, name: object) -> bool:
    if not isinstance(name, str) or not name:
        return False
    try:
        host.describe_endpoint(name)
    except ServiceError:
        return False
    return True


def _create(run: StepRun, host: EndpointHost, request: JsonObject) -> JsonObject:
    name = unique_name(run, request.get("EndpointName"))
    return call(CREATE, host.create_endpoint, request | {"EndpointName": name})


def _update(host: EndpointHost, request: JsonObject) -> JsonObject:
    changes = {name: request[name] for name in UPDATED_MEMBERS if name in request}
    return call(UPDATE, host.update_endpoint, {"EndpointName": request["EndpointName"], **changes})


def _wait(run: StepRun, host: EndpointHost, name: str, *, created: bool) -> JsonObject:
    while True:
        endpoint = host.wait_for_endpoint(name, _LOOK_SECONDS)
        if endpoint["EndpointStatus"] not in ("Creating", "Updating"):
            return endpoint
        if run.stop.requested:
            if created:
                host.delete_endpoint(name)  # nobody would know of it
            raise StepStopped(f"The step was stopped while endpoint {name} was not in service yet")
