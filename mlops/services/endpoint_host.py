"""``ports.EndpointHost`` by the operations themselves, for the steps of a pipeline."""

from __future__ import annotations

from mlops.hosting import EndpointManager
from mlops.ports import Clock, JsonObject, StateStore
from mlops.services.answers import wire_answer
from mlops.services.arns import Arns
from mlops.services.endpoint_configs import EndpointConfigOperations
from mlops.services.endpoints import EndpointOperations
from mlops.services.runtime import RuntimeService
from mlops.services.validation import checked_request
from mlops.settings import Settings


class ServiceEndpointHost:
    """What a client's call does, with the checks that a client's call has."""

    def __init__(
        self, state: StateStore, hosting: EndpointManager, settings: Settings, clock: Clock
    ) -> None:
        self._arns = Arns(settings.region, settings.account_id)
        self._hosting = hosting
        self._configs = EndpointConfigOperations(state, self._arns, clock.now)
        self._endpoints = EndpointOperations(state, hosting, self._configs, self._arns)
        self._runtime = RuntimeService(hosting)

    def create_endpoint_config(self, request: JsonObject) -> JsonObject:
        self._configs.create(checked_request("sagemaker", "CreateEndpointConfig", request))
        return self.describe_endpoint_config(request["EndpointConfigName"])

    def describe_endpoint_config(self, name: str) -> JsonObject:
        answer = self._configs.describe({"EndpointConfigName": name})
        return wire_answer("sagemaker", "DescribeEndpointConfig", answer)

    def delete_endpoint_config(self, name: str) -> None:
        self._configs.delete({"EndpointConfigName": name})

    def create_endpoint(self, request: JsonObject) -> JsonObject:
        self._endpoints.create(checked_request("sagemaker", "CreateEndpoint", request))
        return self.describe_endpoint(request["EndpointName"])

    def update_endpoint(self, request: JsonObject) -> JsonObject:
        self._endpoints.update(checked_request("sagemaker", "UpdateEndpoint", request))
        return self.describe_endpoint(request["EndpointName"])

    def describe_endpoint(self, name: str) -> JsonObject:
        answer = self._endpoints.describe({"EndpointName": name})
        return wire_answer("sagemaker", "DescribeEndpoint", answer)

    def wait_for_endpoint(self, name: str, timeout: float | None = None) -> JsonObject:
        self._hosting.get(name, self._arns.endpoint(name)).wait(timeout)
        return self.describe_endpoint(name)

    def delete_endpoint(self, name: str) -> None:
        self._endpoints.delete({"EndpointName": name})

    def invoke_endpoint(self, request: JsonObject) -> JsonObject:
        answer = self._runtime.invoke(request)
        try:
            return {**answer.members, "Body": b"".join(answer.body)}
        finally:
            answer.body.close()
