"""From a model package to a tested endpoint: what `mlops deploy` and `mlops test-endpoint` do.

    package → Model → EndpointConfig → Endpoint (made, or updated) → InService → the Lambda test
                                                                       failed → the former config

The calls are SageMaker's and Lambda's own; an account would take the same ones.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mlops.errors import ExecutionFailed, ServiceError, UsageError
from mlops.lab import EVALUATION, HOLDOUT, PREPROCESSING
from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.gateway.client import GatewayClient

VARIANT = "AllTraffic"
SERVERLESS = {"MemorySizeInMB": 2048, "MaxConcurrency": 20}
"""As in the lab, with memory for TensorFlow's 610 MiB."""
TEST_FUNCTION = "mlops-endpoint-test"
TEST_SECONDS = 300
LOOK_SECONDS = 0.1
PASSED = "passed"


@dataclass(frozen=True, slots=True)
class DeploymentOutcome:
    """A deployment and what its test said; `test` is None where none was asked for."""

    deployment: Deployment
    test: dict[str, Any] | None
    restored: bool = False
    """The test failed, and the former version serves again."""

    @property
    def passed(self) -> bool:
        return self.test is None or self.test["status"] == PASSED

    def as_json(self) -> dict[str, Any]:
        """The document's ``endpoint`` and ``endpoint_test``."""
        return {"endpoint": self.deployment.as_json(), "endpoint_test": self.test}


@dataclass(frozen=True, slots=True)
class Deployment:
    """An endpoint in service. `former_config` served before, None where the endpoint is new."""

    endpoint: str
    status: str
    url: str
    model_package_arn: str
    config: str
    former_config: str | None
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The document's ``endpoint``."""
        return {
            "name": self.endpoint,
            "status": self.status,
            "url": self.url,
            "model_package_arn": self.model_package_arn,
        }


def deploy_package(
    client: GatewayClient, settings: Settings, package_arn: str, endpoint: str
) -> Deployment:
    """Make or update `endpoint` so that it serves the package; returns once it is InService.

    An update keeps the former version answering until the new one does; one that fails leaves
    the former version serving.

    Raises:
        UsageError: the package is not approved, or does not exist.
        ExecutionFailed: the endpoint does not come into service; the reason says why.
    """
    _check_approved(client, package_arn)
    began = time.monotonic()
    former = describe_endpoint(client, endpoint)
    name = f"{endpoint[:40]}-{package_arn.rpartition('/')[2]}-{uuid4().hex[:8]}"
    _make_config(client, settings, name, package_arn)
    try:
        _point(client, endpoint, name, exists=former is not None)
        described = wait_in_service(client, endpoint, name)
    except Exception:
        _remove_config(client, name)
        raise
    return Deployment(
        endpoint=endpoint,
        status=str(described["EndpointStatus"]),
        url=f"{client.url}/endpoints/{endpoint}/invocations",
        model_package_arn=package_arn,
        config=name,
        former_config=str(former["EndpointConfigName"]) if former else None,
        seconds=time.monotonic() - began,
    )


def deploy_and_test(
    client: GatewayClient,
    settings: Settings,
    package_arn: str,
    endpoint: str,
    *,
    test: bool = True,
    progress: Callable[[str], None],
) -> DeploymentOutcome:
    """Deploy a package, test the endpoint, and go back to the former version where that fails.

    `progress` hears a line when the endpoint is in service and one when it is tested.

    Raises:
        UsageError, ExecutionFailed: as `deploy_package` and `check_endpoint` do; an endpoint whose
            test could not be carried out goes back to its former version too.
    """
    deployment = deploy_package(client, settings, package_arn, endpoint)
    progress(f"endpoint  {endpoint}  InService in {deployment.seconds:.1f} s   {deployment.url}")
    if not test:
        finish_deployment(client, deployment)
        return DeploymentOutcome(deployment, None)
    try:
        result = check_endpoint(client, settings, endpoint)
    except Exception:
        undo_deployment(client, deployment)
        raise
    progress(f"test      {describe_test(result)}")
    if result["status"] == PASSED:
        finish_deployment(client, deployment)
        return DeploymentOutcome(deployment, result)
    restored = undo_deployment(client, deployment)
    if restored:
        progress(f"endpoint  {endpoint} serves its former version again")
    return DeploymentOutcome(deployment, result, restored)


def describe_test(result: Mapping[str, Any]) -> str:
    """``200 requests · mean 0.9 ms · p95 1.4 ms · mse 0.0109 · passed``."""
    words = [f"{result['requests']} requests"]
    for name in ("mean_ms", "p95_ms"):
        if result.get(name) is not None:
            words.append(f"{name.removesuffix('_ms')} {result[name]:.1f} ms")
    if result.get("mse") is not None:
        words.append(f"mse {result['mse']:.4g}")
    return " · ".join([*words, str(result["status"]), *result.get("failures", [])[:3]])


def finish_deployment(client: GatewayClient, deployment: Deployment) -> None:
    """The new version stays: remove the configuration and model that it replaced."""
    if deployment.former_config and deployment.former_config != deployment.config:
        _remove_config(client, deployment.former_config)


def undo_deployment(client: GatewayClient, deployment: Deployment) -> bool:
    """Let the former version serve again. False where there was none: the endpoint stays."""
    if deployment.former_config is None:
        return False
    _point(client, deployment.endpoint, deployment.former_config, exists=True)
    wait_in_service(client, deployment.endpoint, deployment.former_config)
    _remove_config(client, deployment.config)
    return True


def wait_in_service(client: GatewayClient, endpoint: str, config: str) -> dict[str, Any]:
    """DescribeEndpoint's answer once the endpoint serves `config`.

    Raises:
        ExecutionFailed: it failed, or went back to what served before.
    """
    while True:
        described = client.call("DescribeEndpoint", {"EndpointName": endpoint})
        status = described["EndpointStatus"]
        if status == "InService" and described["EndpointConfigName"] == config:
            return described
        if status not in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
            raise ExecutionFailed(
                f"Endpoint {endpoint} is {status}: {described.get('FailureReason', 'no reason')}",
                next_step=f"`mlops endpoints logs {endpoint}` shows what its server wrote",
            )
        time.sleep(LOOK_SECONDS)


def check_endpoint(
    client: GatewayClient, settings: Settings, endpoint: str, *, max_requests: int = 200
) -> dict[str, Any]:
    """Invoke the Lambda that tests an endpoint with rows that training never saw.

    Returns the function's answer: status, requests, mse, mean_ms, p50_ms, p95_ms, failures, ….

    Raises:
        UsageError: the endpoint does not exist, or its package does not say how to test it.
        ExecutionFailed: the function itself failed.
    """
    from mlops.aws import errors_of, gateway_session, lambda_client

    session = gateway_session(client.url, settings.region)
    event = _test_event(client, session, endpoint) | {"max_requests": max_requests}
    functions = lambda_client(session, TEST_SECONDS)
    with errors_of(functions):
        _provide_function(functions, settings)
        answer = functions.invoke(FunctionName=TEST_FUNCTION, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise ExecutionFailed(
            f"The endpoint test failed: {payload.get('errorType')}: {payload.get('errorMessage')}",
            where=f"function {TEST_FUNCTION}",
            next_step="see the function's log, or test again: mlops test-endpoint " + endpoint,
        )
    result: dict[str, Any] = payload
    return result


def describe_endpoint(client: GatewayClient, endpoint: str) -> dict[str, Any] | None:
    """DescribeEndpoint's answer; None where there is no such endpoint."""
    try:
        return client.call("DescribeEndpoint", {"EndpointName": endpoint})
    except ServiceError as error:
        # The model has no error of its own for it: "Could not find endpoint", ValidationException.
        if error.code != "ValidationException" or "find" not in str(error):
            raise
        return None


def delete_endpoint(client: GatewayClient, endpoint: str) -> None:
    """Delete an endpoint with the configuration and the model that were made for it."""
    described = describe_endpoint(client, endpoint)
    client.call("DeleteEndpoint", {"EndpointName": endpoint})
    while described and describe_endpoint(client, endpoint) is not None:
        time.sleep(LOOK_SECONDS)
    if described:
        _remove_config(client, described["EndpointConfigName"])


def package_of(client: GatewayClient, endpoint: str) -> str:
    """The ARN of the package that an endpoint serves.

    Raises:
        UsageError: there is no such endpoint, or it was not made from a package.
    """
    described = describe_endpoint(client, endpoint)
    if described is None:
        raise UsageError(
            f"There is no endpoint {endpoint!r}",
            next_step="`mlops endpoints list` shows what there is",
        )
    config = client.call(
        "DescribeEndpointConfig", {"EndpointConfigName": described["EndpointConfigName"]}
    )
    model = client.call(
        "DescribeModel", {"ModelName": config["ProductionVariants"][0]["ModelName"]}
    )
    containers = model.get("Containers") or [model.get("PrimaryContainer", {})]
    package = containers[0].get("ModelPackageName")
    if not package:
        raise UsageError(
            f"Endpoint {endpoint} was not made from a model package",
            next_step="deploy one: mlops deploy PACKAGE --endpoint " + endpoint,
        )
    return str(package)


def _check_approved(client: GatewayClient, package_arn: str) -> None:
    package = client.call("DescribeModelPackage", {"ModelPackageName": package_arn})
    approval = package.get("ModelApprovalStatus", "Approved")
    if approval != "Approved":
        short = package_arn.partition(":model-package/")[2]
        raise UsageError(
            f"The model package {short} is {approval}, and only an approved one is deployed",
            next_step=f"mlops models approve {short}",
        )


def _make_config(client: GatewayClient, settings: Settings, name: str, package_arn: str) -> None:
    client.call(
        "CreateModel",
        {
            "ModelName": name,
            "ExecutionRoleArn": settings.execution_role_arn,
            "Containers": [{"ModelPackageName": package_arn}],
        },
    )
    variant = {"VariantName": VARIANT, "ModelName": name, "ServerlessConfig": SERVERLESS}
    client.call(
        "CreateEndpointConfig", {"EndpointConfigName": name, "ProductionVariants": [variant]}
    )


def _point(client: GatewayClient, endpoint: str, config: str, *, exists: bool) -> None:
    client.call(
        "UpdateEndpoint" if exists else "CreateEndpoint",
        {"EndpointName": endpoint, "EndpointConfigName": config},
    )


def _remove_config(client: GatewayClient, name: str) -> None:
    """Configuration and model of one name, as `_make_config` makes them; a missing one is fine."""
    for operation, member in (
        ("DeleteEndpointConfig", "EndpointConfigName"),
        ("DeleteModel", "ModelName"),
    ):
        try:
            client.call(operation, {member: name})
        except ServiceError as error:
            if error.code != "ValidationException":
                raise


def _test_event(client: GatewayClient, session: Any, endpoint: str) -> dict[str, Any]:
    """What the test function is asked: see containers/endpoint_test/handler.py."""
    arn = package_of(client, endpoint)
    package = client.call("DescribeModelPackage", {"ModelPackageName": arn})
    known: Mapping[str, str] = package.get("CustomerMetadataProperties", {})
    missing = [name for name in (HOLDOUT, PREPROCESSING) if name not in known]
    if missing:
        raise UsageError(
            f"The model package does not say how to test it: it lacks {', '.join(missing)}",
            where=arn,
            next_step="register it with these CustomerMetadataProperties, as mlops.pipeline does",
        )
    preprocessing = _read_json(session, known[PREPROCESSING], "preprocessing.json")
    event: dict[str, Any] = {
        "endpoint_name": endpoint,
        "holdout_s3_uri": known[HOLDOUT],
        "columns": [row["column"] for row in preprocessing["inputs"]],
        "target": preprocessing["target"]["column"],
        "transform": preprocessing["target"]["transform"],
    }
    return event | ({"evaluation_s3_uri": known[EVALUATION]} if EVALUATION in known else {})


def _read_json(session: Any, uri: str, name: str) -> Any:
    """The JSON object at `uri`, or the file `name` in it where `uri` is a folder."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not key.endswith(".json"):
        key = f"{key.rstrip('/')}/{name}"
    s3 = session.client("s3")
    try:
        return json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (s3.exceptions.NoSuchKey, s3.exceptions.NoSuchBucket) as error:
        raise UsageError(
            "What the model package names for its test is gone",
            where=f"s3://{bucket}/{key}",
            next_step="run the pipeline again: mlops run",
        ) from error


def _provide_function(functions: Any, settings: Settings) -> None:
    """Make the test function where it is missing; its image is the settings' own."""
    image = (
        f"{settings.account_id}.dkr.ecr.{settings.region}.amazonaws.com"
        f"/{TEST_FUNCTION}:{settings.image_tag}"
    )
    try:
        found = functions.get_function(FunctionName=TEST_FUNCTION)
        if found["Code"].get("ImageUri") != image:
            functions.update_function_code(FunctionName=TEST_FUNCTION, ImageUri=image)
    except functions.exceptions.ResourceNotFoundException:
        functions.create_function(
            FunctionName=TEST_FUNCTION,
            Role=settings.execution_role_arn,
            PackageType="Image",
            Code={"ImageUri": image},
            Timeout=TEST_SECONDS,
            MemorySize=512,
        )
        functions.get_waiter("function_active_v2").wait(
            FunctionName=TEST_FUNCTION, WaiterConfig={"Delay": 0.1, "MaxAttempts": 600}
        )
