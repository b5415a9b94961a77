"""What a person asks of an endpoint beyond DescribeEndpoint: its servers and how they do."""

from __future__ import annotations

from mlops.errors import UsageError
from mlops.hosting import EndpointManager
from mlops.hosting.endpoint import Endpoint
from mlops.ports import JsonObject


class EndpointDetails:
    """Reads what the gateway knows of its endpoints."""

    def __init__(self, hosting: EndpointManager) -> None:
        self._hosting = hosting

    def of(self, name: str) -> JsonObject:
        """The document.

        Keys: name, status, failure_reason, config_name, folder (its servers' logs are in
        ``<server>/log.txt`` below it), and variants: for each name, model_name, weight, addresses
        of its servers, restarts, problems, statistics (``hosting.statistics``); of an endpoint
        that has had asynchronous invocations, async: the metrics of its queue.

        Raises:
            UsageError: there is no such endpoint.
        """
        endpoint = next((each for each in self._hosting.list() if each.name == name), None)
        if endpoint is None:
            raise UsageError(
                f"There is no endpoint {name}",
                next_step="`mlops endpoints list` shows those that there are",
            )
        backlog = self._hosting.backlog(name)
        return {
            "name": name,
            "status": str(endpoint.status),
            "failure_reason": endpoint.failure_reason,
            "config_name": endpoint.plan.config_name,
            "folder": str(endpoint.folder),
            "variants": _variants(endpoint),
            **({} if backlog is None else {"async": backlog}),
        }


def _variants(endpoint: Endpoint) -> list[JsonObject]:
    fleet = endpoint.fleet
    if fleet is None:
        return []
    return [
        {
            "name": variant.name,
            "model_name": variant.model_name,
            "weight": variant.weight,
            "addresses": fleet.addresses(variant.name),
            "restarts": fleet.restarts(variant.name),
            "problems": fleet.problems(variant.name),
            "statistics": fleet.statistics(variant.name).document(),
        }
        for variant in endpoint.plan.variants
    ]
