"""All endpoints of a state folder: the public face of this package."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mlops.errors import MlopsError, ServiceError
from mlops.hosting.async_carrier import Carrier
from mlops.hosting.async_invocation import AsyncInvocation
from mlops.hosting.async_queues import AsyncQueues
from mlops.hosting.endpoint import KIND, Endpoint, EndpointStatus, new_document
from mlops.hosting.fleet import ENDPOINT_LABEL
from mlops.hosting.invocation import Invocation, InvocationAnswer, Invoker, StreamedAnswer
from mlops.hosting.plan import DeploymentPlan, check_limits
from mlops.hosting.server import FIRST_PAUSE_SECONDS, Workshop
from mlops.ports import (
    SERVERS_LABEL,
    Clock,
    ContainerRuntime,
    JsonObject,
    ObjectStore,
    ResourceRecord,
    RunningServer,
    StateStore,
)
from mlops.settings import Settings
from mlops.surroundings import common_environment, surroundings_at

ADOPTION_SECONDS = 1.0
"""How long a start of the gateway waits for servers that it found to be asked whether they answer:
whoever calls next shall not be told that they are down."""

_logger = logging.getLogger(__name__)


class EndpointManager:
    """Creates, changes, watches and deletes endpoints. Safe to use from several threads.

    Args:
        gateway_url: the gateway's address, for the clients in the servers.
        other_runtime: a runtime by its name, to end servers that a gateway with another runtime
            started; raises RuntimeUnavailable where it cannot be had.
        pause_seconds: before a server that died is started again for the first time.
    """

    def __init__(
        self,
        objects: ObjectStore,
        state: StateStore,
        runtime: ContainerRuntime,
        clock: Clock,
        settings: Settings,
        gateway_url: Callable[[], str],
        other_runtime: Callable[[str], ContainerRuntime],
        *,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._state = state
        self._runtime = runtime
        self._clock = clock
        self._settings = settings
        self._gateway_url = gateway_url
        self._other_runtime = other_runtime
        self._labels = {SERVERS_LABEL: str(settings.store)}
        self._workshop = Workshop(
            runtime, objects, clock, self.folder, self._environment, pause_seconds
        )
        self._invoker = Invoker(settings)
        payloads = settings.store / "async-payloads"
        self._queues = AsyncQueues(Carrier(objects, self._invoker, clock, payloads), state, clock)
        self._lock = threading.Lock()
        self._endpoints: dict[str, Endpoint] = {}

    @property
    def folder(self) -> Path:
        """Where servers have their files and logs: ``<endpoint>/<server>/log.txt``."""
        return self._settings.store / "endpoints"

    # --- changing ---

    def create(
        self, name: str, arn: str, plan: DeploymentPlan, deployment_config: JsonObject | None
    ) -> Endpoint:
        """Start an endpoint; its status is Creating when this returns.

        Raises:
            ServiceError: there is one of this name, or it asks for too much.
            StoreError, DiskFull: it cannot be recorded.
        """
        check_limits(plan)
        now = self._clock.now()
        record = ResourceRecord(
            kind=KIND,
            name=name,
            arn=arn,
            created_at=now,
            last_modified_at=now,
            status=str(EndpointStatus.CREATING),
            document=new_document(plan, self._runtime.name, deployment_config),
        )
        with self._lock:
            if name in self._endpoints:
                raise _invalid(f'Cannot create already existing endpoint "{arn}".')
            self._state.put_resource(record)
            endpoint = self._endpoint(record)
            self._endpoints[name] = endpoint
        endpoint.create()
        return endpoint

    def update(
        self, name: str, arn: str, plan: DeploymentPlan, deployment_config: JsonObject | None
    ) -> Endpoint:
        """Start the change to another plan.

        Raises:
            ServiceError: there is no such endpoint, it is being changed, or asks for too much.
        """
        check_limits(plan)
        endpoint = self.get(name, arn)
        endpoint.update(plan, deployment_config)
        return endpoint

    def scale(self, name: str, arn: str, plan: DeploymentPlan) -> Endpoint:
        """Start the change of weights and capacities.

        Raises:
            ServiceError: as `update`.
        """
        check_limits(plan)
        endpoint = self.get(name, arn)
        endpoint.scale(plan)
        return endpoint

    def delete(self, name: str, arn: str) -> None:
        """End an endpoint; nothing of it is left when this returns, and what was queued has failed.

        Raises:
            ServiceError: there is none.
            MlopsError: a server of it cannot be ended.
        """
        self.get(name, arn).delete()
        self._queues.end(name)
        with self._lock:
            self._endpoints.pop(name, None)

    # --- looking ---

    def get(self, name: str, arn: str) -> Endpoint:
        """An endpoint.

        Raises:
            ServiceError: ``ValidationException``: there is none.
        """
        with self._lock:
            endpoint = self._endpoints.get(name)
        if endpoint is None:
            # SDK v2, session.py, looks for these words.
            raise _invalid(f'Could not find endpoint "{arn}".')
        return endpoint

    def list(self) -> Sequence[Endpoint]:
        """Every endpoint, the oldest first."""
        with self._lock:
            return sorted(self._endpoints.values(), key=lambda each: each.record.created_at)

    def up(self) -> int:
        """How many endpoints serve or are about to, and how many invocations are queued: a gateway
        with any does not leave."""
        down = (EndpointStatus.FAILED,)
        serving = sum(endpoint.status not in down for endpoint in self.list())
        return serving + sum(self.queued().values())

    # --- invoking ---

    def invoke(self, name: str, invocation: Invocation) -> InvocationAnswer:
        """Have a model answer. See `Invoker.invoke`."""
        return self._invoker.invoke(self._invoked(name), invocation)

    def stream(self, name: str, invocation: Invocation) -> StreamedAnswer:
        """Have a model answer at any length. See `Invoker.stream`."""
        return self._invoker.stream(self._invoked(name), invocation)

    def enqueue(self, name: str, request: JsonObject) -> AsyncInvocation:
        """Keep an asynchronous invocation (a checked InvokeEndpointAsync request) for its turn.

        Raises:
            ServiceError: ``ValidationError``: no such endpoint, or it takes none.
            StoreError, DiskFull: it cannot be kept.
        """
        return self._queues.enqueue(self._known(name), request)

    def queued(self) -> Mapping[str, int]:
        """How many asynchronous invocations have not ended, by endpoint; none without any."""
        return self._queues.pending()

    def backlog(self, name: str) -> JsonObject | None:
        """The metrics of an endpoint's queue (`AsyncQueue.document`); None before it had any."""
        return self._queues.document(name)

    def _invoked(self, name: str) -> Endpoint:
        endpoint = self._known(name)
        if endpoint.async_settings is not None:
            # "… implies that the endpoint can only receive asynchronous invocations" (Developer
            # Guide, "Asynchronous inference").
            raise ServiceError(
                "ValidationError",
                f"Endpoint {name} has an AsyncInferenceConfig: it takes InvokeEndpointAsync only.",
            )
        return endpoint

    def _known(self, name: str) -> Endpoint:
        with self._lock:
            endpoint = self._endpoints.get(name)
        if endpoint is None:
            # As seen in public answers of the service.
            account = self._settings.account_id
            raise ServiceError(
                "ValidationError", f"Endpoint {name} of account {account} not found."
            )
        return endpoint

    # --- the gateway's own life ---

    def recover(self) -> None:
        """Go on with the endpoints of the last gateway. To be called once, before anything else.

        Servers that it left running are watched again, servers that are gone are started anew,
        and what belongs to no endpoint is ended.
        """
        records = self._state.list_resources(KIND)
        found = self._found_servers()
        for record in records:
            endpoint = self._endpoint(self._moved_here(record))
            self._endpoints[record.name] = endpoint
        for name, servers in found.items():
            if name not in self._endpoints:
                for server in servers:
                    _logger.warning("server %s belongs to no endpoint: it is ended", server.name)
                    server.stop(0)
        for name, endpoint in self._endpoints.items():
            endpoint.recover(found.get(name, ()))
        for name, endpoint in self._endpoints.items():
            if found.get(name) and endpoint.fleet is not None:
                endpoint.fleet.wait_for_found(ADOPTION_SECONDS)
        self._queues.recover(self._endpoints)

    def _found_servers(self) -> Mapping[str, Sequence[RunningServer]]:
        found: dict[str, list[RunningServer]] = {}
        try:
            servers = self._runtime.find_servers(self._labels)
        except MlopsError:
            _logger.exception("the servers of the last gateway cannot be listed")
            return found
        for server in servers:
            if ENDPOINT_LABEL in server.labels:
                found.setdefault(server.labels[ENDPOINT_LABEL], []).append(server)
        return found

    def _moved_here(self, record: ResourceRecord) -> ResourceRecord:
        """End the servers of an endpoint that another runtime ran; this one starts it anew."""
        former = record.document["runtime"]
        if former == self._runtime.name:
            return record
        try:
            self._other_runtime(former).remove_leftovers(
                {**self._labels, ENDPOINT_LABEL: record.name}
            )
        except MlopsError as error:
            _logger.warning(
                "servers of endpoint %s may still run: they were started with the runtime %s, "
                "which cannot be asked now: %s",
                record.name,
                former,
                error,
            )
        record.document["runtime"] = self._runtime.name
        return record

    def close(self) -> None:
        """Let go of every endpoint. Servers go on, unless the state folder is gone."""
        self._queues.close()
        gone = not (self._settings.store / "state.db").exists()
        for endpoint in self.list():
            if gone:
                self._end_orphan(endpoint)
            else:
                endpoint.detach()

    def _end_orphan(self, endpoint: Endpoint) -> None:
        """No gateway will know of it again."""
        endpoint.end()
        try:
            self._runtime.remove_leftovers({**self._labels, ENDPOINT_LABEL: endpoint.name})
        except MlopsError:
            _logger.exception("servers of endpoint %s may still run", endpoint.name)

    # --- inside ---

    def _endpoint(self, record: ResourceRecord) -> Endpoint:
        return Endpoint(record, self._workshop, self._state, self._labels)

    def _environment(self) -> Mapping[str, str]:
        host = self._runtime.gateway_host
        return common_environment(surroundings_at(self._gateway_url(), host, self._settings.region))


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
