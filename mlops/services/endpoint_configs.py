"""CreateEndpointConfig, DescribeEndpointConfig, ListEndpointConfigs, DeleteEndpointConfig.

What cannot be kept here is refused; what has no meaning on one machine (instance types, volumes,
keys, networks) is stored and described.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlops.errors import InvalidKey
from mlops.hosting.async_invocation import s3_uri
from mlops.hosting.plan import Catalogue, DeploymentPlan, check_limits, plan_deployment
from mlops.ports import JsonObject, ModelPackageRecord, ResourceRecord, StateStore
from mlops.services.arns import Arns
from mlops.services.operation import Handler, Now
from mlops.services.paging import between, ordered, page
from mlops.services.tags import forget_tags, store_tags
from mlops.services.validation import invalid, refuse_unsupported

KIND = "endpoint-config"

_UNSUPPORTED = {
    "ExplainerConfig": "no explainer runs here",
    "ShadowProductionVariants": "requests go to one variant each",
    "CrossRegionTrafficConfig": "there is one region here",
}
_UNSUPPORTED_OF_A_VARIANT = {
    "ManagedInstanceScaling": "the number of servers is the one that is asked for",
    "InstancePools": "there is one machine here",
    "CapacityReservationConfig": "there is one machine here",
}
_SERVERLESS_MEMORY = tuple(range(1024, 6145, 1024))
"""botocore sagemaker ``ProductionVariantServerlessConfig``: "in 1 GB increments"."""


class EndpointConfigOperations:
    def __init__(self, state: StateStore, arns: Arns, now: Now) -> None:
        self._state = state
        self._arns = arns
        self._now = now

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateEndpointConfig": self.create,
            "DescribeEndpointConfig": self.describe,
            "ListEndpointConfigs": self.list_configs,
            "DeleteEndpointConfig": self.delete,
        }

    def create(self, request: JsonObject) -> JsonObject:
        _check(request)
        check_limits(self._planned(request))
        name = request["EndpointConfigName"]
        arn, now = self._arns.endpoint_config(name), self._now()
        with self._state.transaction():
            if self._state.get_resource(KIND, name) is not None:
                # As seen in public answers of the service.
                raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
            self._state.put_resource(
                ResourceRecord(
                    kind=KIND,
                    name=name,
                    arn=arn,
                    created_at=now,
                    last_modified_at=now,
                    status="",
                    document={key: value for key, value in request.items() if key != "Tags"},
                )
            )
            store_tags(self._state, arn, request.get("Tags", []))
        return {"EndpointConfigArn": arn}

    def describe(self, request: JsonObject) -> JsonObject:
        record = self._find(request["EndpointConfigName"])
        return {
            **record.document,
            "EndpointConfigArn": record.arn,
            "CreationTime": record.created_at,
        }

    def list_configs(self, request: JsonObject) -> JsonObject:
        part = request.get("NameContains", "")
        found = [
            record
            for record in self._state.list_resources(KIND)
            if part in record.name
            and between(
                record.created_at,
                request.get("CreationTimeAfter"),
                request.get("CreationTimeBefore"),
            )
        ]
        by: dict[str, Callable[[Any], Any]] = {"Name": lambda record: record.name}
        rows, token = page(
            ordered(found, request, by, newest_first=True), request, lambda record: record.name
        )
        return {
            "EndpointConfigs": [
                {
                    "EndpointConfigName": row.name,
                    "EndpointConfigArn": row.arn,
                    "CreationTime": row.created_at,
                }
                for row in rows
            ],
            "NextToken": token,
        }

    def delete(self, request: JsonObject) -> JsonObject:
        with self._state.transaction():
            record = self._find(request["EndpointConfigName"])
            self._state.delete_resource(KIND, record.name)
            forget_tags(self._state, record.arn)
        return {}

    def plan(self, name: str) -> DeploymentPlan:
        """What a configuration asks for, with its models as they are now.

        Raises:
            ServiceError: ``ValidationException``: it is not there, or a model of it is not.
        """
        return self._planned(self._find(name).document)

    def _planned(self, request: JsonObject) -> DeploymentPlan:
        return plan_deployment(
            request, Catalogue(self._state.get_model, self._package, self._arns.model)
        )

    def _package(self, name: str) -> ModelPackageRecord | None:
        return self._state.get_model_package(name)

    def _find(self, name: str) -> ResourceRecord:
        record = self._state.get_resource(KIND, name)
        if record is None:
            # SDK v2 and Terraform's provider look for these words.
            arn = self._arns.endpoint_config(name)
            raise invalid(f'Could not find endpoint configuration "{arn}".')
        return record


def _check(request: JsonObject) -> None:
    refuse_unsupported(request, _UNSUPPORTED)
    capture = request.get("DataCaptureConfig")
    if capture and capture.get("EnableCapture", True) and capture["InitialSamplingPercentage"]:
        refuse_unsupported(
            request,
            {"DataCaptureConfig": "nothing is captured here; set EnableCapture to false"},
        )
    if "AsyncInferenceConfig" in request:
        _check_async(request)
    names = [variant["VariantName"] for variant in request["ProductionVariants"]]
    if len(set(names)) < len(names):
        raise invalid("Two variants have the same VariantName: names are unique in an endpoint")
    for variant in request["ProductionVariants"]:
        _check_variant(variant)
    if not any(v.get("InitialVariantWeight", 1.0) > 0 for v in request["ProductionVariants"]):
        raise invalid("Every variant has the weight 0: one has to take the requests")


def _check_async(request: JsonObject) -> None:
    """``AsyncInferenceConfig``; its KmsKeyId is kept and described, as every other key."""
    output = request["AsyncInferenceConfig"]["OutputConfig"]
    refuse_unsupported(
        output.get("NotificationConfig") or {},
        dict.fromkeys(
            ("SuccessTopic", "ErrorTopic", "IncludeInferenceResponseIn"),
            "nothing is published to SNS; look for the objects that the answer names",
        ),
    )
    if not output.get("S3OutputPath"):
        raise invalid("The AsyncInferenceConfig has no S3OutputPath: results go there only")
    for name in ("S3OutputPath", "S3FailurePath"):
        try:
            s3_uri(output.get(name) or output["S3OutputPath"])
        except InvalidKey as error:
            raise invalid(f"The {name} of the AsyncInferenceConfig: {error}") from error
    for variant in request["ProductionVariants"]:
        if "ServerlessConfig" in variant:
            raise invalid(
                f"Variant {variant['VariantName']} is serverless: an endpoint with an "
                "AsyncInferenceConfig has instances"
            )


def _check_variant(variant: JsonObject) -> None:
    name, serverless = variant["VariantName"], variant.get("ServerlessConfig")
    refuse_unsupported(variant, _UNSUPPORTED_OF_A_VARIANT)
    if "ModelName" not in variant:
        raise invalid(
            f"Variant {name} has no ModelName: inference components do not run locally yet"
        )
    if serverless is None:
        if "InstanceType" not in variant:
            raise invalid(f"Variant {name} needs an InstanceType or a ServerlessConfig")
        return
    both = [key for key in ("InstanceType", "InitialInstanceCount") if key in variant]
    if both:
        raise invalid(f"Variant {name} is serverless: it cannot have {' and '.join(both)}")
    if serverless["MemorySizeInMB"] not in _SERVERLESS_MEMORY:
        allowed = ", ".join(map(str, _SERVERLESS_MEMORY))
        raise invalid(
            f"The MemorySizeInMB of variant {name} is {serverless['MemorySizeInMB']}: it may be "
            f"{allowed}"
        )
    if serverless.get("ProvisionedConcurrency", 0) > serverless["MaxConcurrency"]:
        raise invalid(f"The ProvisionedConcurrency of variant {name} is above its MaxConcurrency")
