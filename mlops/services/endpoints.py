"""CreateEndpoint, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, DescribeEndpoint,
ListEndpoints, DeleteEndpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from mlops.hosting import EndpointManager
from mlops.hosting.endpoint import Endpoint, EndpointStatus, Pending
from mlops.hosting.plan import VariantPlan, with_desired, with_retained
from mlops.ports import JsonObject, StateStore
from mlops.services.arns import Arns
from mlops.services.endpoint_configs import KIND as CONFIG_KIND
from mlops.services.endpoint_configs import EndpointConfigOperations
from mlops.services.operation import Handler
from mlops.services.paging import between, ordered, page
from mlops.services.tags import forget_tags, store_tags

_LONGEST_STATUS_MESSAGE = 1024


class EndpointOperations:
    def __init__(
        self,
        state: StateStore,
        hosting: EndpointManager,
        configs: EndpointConfigOperations,
        arns: Arns,
    ) -> None:
        self._state = state
        self._hosting = hosting
        self._configs = configs
        self._arns = arns

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "CreateEndpoint": self.create,
            "UpdateEndpoint": self.update,
            "UpdateEndpointWeightsAndCapacities": self.scale,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_endpoints,
            "DeleteEndpoint": self.delete,
        }

    def create(self, request: JsonObject) -> JsonObject:
        name = request["EndpointName"]
        arn = self._arns.endpoint(name)
        plan = self._configs.plan(request["EndpointConfigName"])
        self._hosting.create(name, arn, plan, request.get("DeploymentConfig"))
        store_tags(self._state, arn, request.get("Tags", []))
        return {"EndpointArn": arn}

    def update(self, request: JsonObject) -> JsonObject:
        """UpdateEndpoint: all variants at once, whatever the DeploymentConfig says of the pace.

        It is stored and described; there is no alarm here that could ring.
        """
        endpoint = self._get(request)
        plan = self._configs.plan(request["EndpointConfigName"])
        if request.get("RetainAllVariantProperties"):
            excluded = request.get("ExcludeRetainedVariantProperties", [])
            plan = with_retained(
                plan, endpoint.plan, [each["VariantPropertyType"] for each in excluded]
            )
        deployment_config = request.get("DeploymentConfig")
        if request.get("RetainDeploymentConfig"):
            deployment_config = endpoint.record.document.get("deployment_config")
        self._hosting.update(endpoint.name, endpoint.record.arn, plan, deployment_config)
        return {"EndpointArn": endpoint.record.arn}

    def scale(self, request: JsonObject) -> JsonObject:
        endpoint = self._get(request)
        plan = with_desired(endpoint.plan, request["DesiredWeightsAndCapacities"])
        self._hosting.scale(endpoint.name, endpoint.record.arn, plan)
        return {"EndpointArn": endpoint.record.arn}

    def describe(self, request: JsonObject) -> JsonObject:
        return self.description(self._get(request))

    def description(self, endpoint: Endpoint) -> JsonObject:
        """The DescribeEndpoint answer."""
        record = endpoint.record
        plan = endpoint.plan
        creating = record.status == EndpointStatus.CREATING
        pending = _first(endpoint) if creating else endpoint.pending
        config = self._state.get_resource(CONFIG_KIND, plan.config_name)
        capture = None if config is None else config.document.get("DataCaptureConfig")
        return {
            "EndpointName": record.name,
            "EndpointArn": record.arn,
            "EndpointConfigName": plan.config_name,
            "ProductionVariants": None
            if creating
            else [
                _variant(endpoint, variant, record.last_modified_at) for variant in plan.variants
            ],
            "DataCaptureConfig": None if capture is None else _capture_summary(capture),
            "EndpointStatus": record.status,
            "FailureReason": endpoint.failure_reason,
            "CreationTime": record.created_at,
            "LastModifiedTime": record.last_modified_at,
            "AsyncInferenceConfig": plan.async_inference,
            "LastDeploymentConfig": record.document.get("deployment_config"),
            "PendingDeploymentSummary": None if pending is None else _pending(pending),
        }

    def list_endpoints(self, request: JsonObject) -> JsonObject:
        found = [each for each in self._hosting.list() if _listed(each, request)]
        by: dict[str, Callable[[Any], Any]] = {
            "Name": lambda endpoint: endpoint.name,
            "Status": lambda endpoint: endpoint.record.status,
        }
        rows, token = page(
            ordered(found, request, by, newest_first=True), request, lambda each: each.name
        )
        return {
            "Endpoints": [
                {
                    "EndpointName": row.name,
                    "EndpointArn": row.record.arn,
                    "CreationTime": row.record.created_at,
                    "LastModifiedTime": row.record.last_modified_at,
                    "EndpointStatus": row.record.status,
                }
                for row in rows
            ],
            "NextToken": token,
        }

    def delete(self, request: JsonObject) -> JsonObject:
        """DeleteEndpoint: everything of it is gone when it answers.

        An endpoint that is being created or updated is deleted too; the service would first have
        it come to rest, which can take eight minutes with a server that never answers.
        """
        name = request["EndpointName"]
        arn = self._arns.endpoint(name)
        self._hosting.delete(name, arn)
        forget_tags(self._state, arn)
        return {}

    def _get(self, request: JsonObject) -> Endpoint:
        name = request["EndpointName"]
        return self._hosting.get(name, self._arns.endpoint(name))


def _listed(endpoint: Endpoint, request: JsonObject) -> bool:
    record = endpoint.record
    return (
        request.get("NameContains", "") in record.name
        and request.get("StatusEquals", record.status) == record.status
        and between(
            record.created_at, request.get("CreationTimeAfter"), request.get("CreationTimeBefore")
        )
        and between(
            record.last_modified_at,
            request.get("LastModifiedTimeAfter"),
            request.get("LastModifiedTimeBefore"),
        )
    )


def _variant(endpoint: Endpoint, variant: VariantPlan, since: datetime) -> JsonObject:
    """ProductionVariantSummary."""
    fleet = endpoint.fleet
    problems = [] if fleet is None else fleet.problems(variant.name)
    return {
        "VariantName": variant.name,
        "DeployedImages": [_image(variant, since)],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        **_capacity(variant, 0 if fleet is None else fleet.serving_count(variant.name)),
        "RoutingConfig": variant.routing,
        # There is no status of a variant whose server died; this one comes nearest.
        "VariantStatus": [
            {"Status": "Updating", "StatusMessage": problem[:_LONGEST_STATUS_MESSAGE]}
            for problem in problems[:5]
        ]
        or None,
    }


def _capacity(variant: VariantPlan, current: int) -> JsonObject:
    if variant.serverless is not None:
        shape = variant.serverless.shape()
        # As the service answers for a serverless variant: no instances at all.
        return {
            "CurrentInstanceCount": 0,
            "DesiredInstanceCount": 0,
            "CurrentServerlessConfig": shape,
            "DesiredServerlessConfig": shape,
        }
    return {"CurrentInstanceCount": current, "DesiredInstanceCount": variant.count}


def _image(variant: VariantPlan, since: datetime) -> JsonObject:
    return {
        "SpecifiedImage": variant.image,
        "ResolvedImage": variant.image,
        "ResolutionTime": since,
    }


def _pending(pending: Pending) -> JsonObject:
    """PendingDeploymentSummary."""
    return {
        "EndpointConfigName": pending.plan.config_name,
        "ProductionVariants": [
            {
                "VariantName": variant.name,
                "DeployedImages": [_image(variant, pending.started_at)],
                "DesiredWeight": variant.weight,
                **(
                    {"DesiredServerlessConfig": variant.serverless.shape()}
                    if variant.serverless is not None
                    else {"DesiredInstanceCount": variant.count}
                ),
                "InstanceType": variant.instance_type,
                "VariantStatus": [{"Status": "Creating", "StartTime": pending.started_at}],
            }
            for variant in pending.plan.variants
        ],
        "StartTime": pending.started_at,
    }


def _first(endpoint: Endpoint) -> Pending:
    """The deployment that creates the endpoint, as one that is pending."""
    return Pending("", endpoint.plan, endpoint.record.created_at)


def _capture_summary(capture: JsonObject) -> JsonObject:
    """DataCaptureConfigSummary."""
    return {
        "EnableCapture": False,
        "CaptureStatus": "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
        "KmsKeyId": capture.get("KmsKeyId", ""),
    }
