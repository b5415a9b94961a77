"""The queues of all asynchronous endpoints of a state folder."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from uuid import uuid4

from mlops.errors import InvalidKey, ServiceError
from mlops.hosting.async_carrier import Carrier
from mlops.hosting.async_invocation import AsyncInvocation, plan_invocation
from mlops.hosting.async_queue import KIND, AsyncQueue, fail
from mlops.hosting.endpoint import Endpoint, EndpointStatus
from mlops.ports import Clock, JsonObject, StateStore

_GONE = (EndpointStatus.DELETING, EndpointStatus.FAILED)


class AsyncQueues:
    """Safe to use from several threads."""

    def __init__(self, carrier: Carrier, state: StateStore, clock: Clock) -> None:
        self._carrier = carrier
        self._state = state
        self._clock = clock
        self._lock = threading.Lock()
        self._queues: dict[str, AsyncQueue] = {}

    def enqueue(self, endpoint: Endpoint, request: JsonObject) -> AsyncInvocation:
        """Keep a checked InvokeEndpointAsync request for its turn.

        Raises:
            ServiceError: ``ValidationError``: the endpoint takes none.
            StoreError, DiskFull: it cannot be kept.
        """
        settings = endpoint.async_settings
        if settings is None:
            raise ServiceError(
                "ValidationError",
                f"Endpoint {endpoint.name} has no AsyncInferenceConfig: it answers InvokeEndpoint, "
                "not InvokeEndpointAsync.",
            )
        try:
            made = plan_invocation(request, settings, id=str(uuid4()), now=self._clock.now())
        except InvalidKey as error:
            raise ServiceError("ValidationError", str(error)) from error
        self._of(endpoint).put(made, request.get("Body") or b"")
        return made

    def _of(self, endpoint: Endpoint) -> AsyncQueue:
        with self._lock:
            # Inside: a queue that was made after `end` would be nobody's.
            endpoint.check_open()
            return self._made(endpoint)

    def _made(self, endpoint: Endpoint) -> AsyncQueue:
        queue = self._queues.get(endpoint.name)
        if queue is None:
            queue = AsyncQueue(endpoint, self._carrier, self._state, self._clock)
            self._queues[endpoint.name] = queue
        return queue

    def pending(self) -> Mapping[str, int]:
        """How many invocations have not ended, by endpoint; none of those without any."""
        with self._lock:
            queues = list(self._queues.items())
        counts = {name: queue.pending() for name, queue in queues}
        return {name: count for name, count in counts.items() if count}

    def document(self, name: str) -> JsonObject | None:
        """The metrics of an endpoint's queue (`AsyncQueue.document`); None before it had any."""
        with self._lock:
            queue = self._queues.get(name)
        return None if queue is None else queue.document()

    def end(self, name: str) -> None:
        """The endpoint takes no more and its servers are gone: what has not ended fails."""
        with self._lock:
            queue = self._queues.pop(name, None)
        if queue is not None:
            queue.end(_deleted(name))

    def recover(self, endpoints: Mapping[str, Endpoint]) -> None:
        """Go on with what was acknowledged and has not ended, of `endpoints` by their names."""
        kept: dict[str, list[AsyncInvocation]] = {}
        for record in self._state.list_resources(KIND):
            invocation = AsyncInvocation.from_document(record.document)
            kept.setdefault(invocation.endpoint, []).append(invocation)
        self._carrier.sweep({each.id for several in kept.values() for each in several})
        for name, invocations in kept.items():
            endpoint = endpoints.get(name)
            if endpoint is not None and endpoint.status not in _GONE:
                with self._lock:
                    queue = self._made(endpoint)
                queue.restore(invocations)
                continue
            for invocation in invocations:
                fail(invocation, _deleted(name), self._carrier)
                self._state.delete_resource(KIND, invocation.id)
                self._carrier.forget(invocation)

    def close(self) -> None:
        """Begin nothing more: the gateway leaves, and the next one goes on."""
        with self._lock:
            queues = list(self._queues.values())
        for queue in queues:
            queue.close()


def _deleted(name: str) -> str:
    return f"Endpoint {name} was deleted before the request was carried out."
