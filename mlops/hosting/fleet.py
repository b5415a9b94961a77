"""The servers of one deployment of an endpoint: all of its variants, each with its servers.

Who wants to invoke takes a lease on a server, and gives it back. Leases say how many invocations a
server has, which keeps serverless concurrency, spreads requests over a variant's servers, and lets
a fleet that is replaced end its last ones.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from mlops.errors import ServiceError
from mlops.hosting.plan import DeploymentPlan, VariantPlan
from mlops.hosting.proxy import Connections
from mlops.hosting.routing import WeightedTurns
from mlops.hosting.server import ManagedServer, Phase, Place, Workshop
from mlops.hosting.statistics import InvocationStatistics
from mlops.ports import RunningServer

DRAIN_SECONDS = 65.0
"""An invocation may take 60 seconds; after that nobody waits for it."""

ENDPOINT_LABEL = "mlops.endpoint"
DEPLOYMENT_LABEL = "mlops.deployment"
VARIANT_LABEL = "mlops.variant"


@dataclass(frozen=True, slots=True)
class Lease:
    """A server for one invocation."""

    variant: VariantPlan
    connections: Connections
    statistics: InvocationStatistics
    release: Callable[[], None]
    """To be called once."""


class Retired(Exception):
    """The fleet leases nothing any more: another has taken its place."""


@dataclass(slots=True)
class _Variant:
    plan: VariantPlan
    servers: list[ManagedServer] = field(default_factory=list)
    statistics: InvocationStatistics = field(default_factory=InvocationStatistics)

    @property
    def active(self) -> int:
        return sum(server.active for server in self.servers)

    def idlest(self) -> ManagedServer | None:
        """Of the servers that serve, the one with the fewest invocations."""
        serving = [server for server in self.servers if server.connections is not None]
        return min(serving, key=lambda server: server.active, default=None)


class Fleet:
    """Starts, leases and stops the servers of one deployment.

    Args:
        changed: is called after every change of a server's phase.
        labels: what all servers of this gateway carry.
    """

    def __init__(
        self,
        workshop: Workshop,
        endpoint: str,
        id: str,  # noqa: A002 - what it is
        plan: DeploymentPlan,
        changed: Callable[[], None],
        labels: Mapping[str, str],
    ) -> None:
        self.id = id
        self.plan = plan
        self._workshop = workshop
        self._endpoint = endpoint
        self._labels = {**labels, ENDPOINT_LABEL: endpoint, DEPLOYMENT_LABEL: id}
        self._tell = changed
        self._state = threading.Condition()
        self._variants = {variant.name: _Variant(variant) for variant in plan.variants}
        self._turns = WeightedTurns(_weights(plan))
        self._waiting: str | None = None
        self._stopping = False
        self._draining = False

    # --- starting, scaling, stopping ---

    def start(
        self, found: Mapping[str, Sequence[RunningServer]] | None = None, *, served: bool = False
    ) -> None:
        """Start every server, but for those that are `found` running, by variant.

        `served`: the deployment has served before: what fails now is tried again.
        """
        for name, variant in self._variants.items():
            running = list((found or {}).get(name, ()))
            for server in running[variant.plan.count :]:
                server.stop()
            kept: list[RunningServer | None] = [*running[: variant.plan.count]]
            kept += [None] * (variant.plan.count - len(kept))
            with self._state:
                made = [self._make(variant.plan, each, served=served) for each in kept]
                variant.servers.extend(made)
            for server_ in made:
                server_.start()

    def scale(self, plan: DeploymentPlan) -> None:
        """Have as many servers as `plan` says: start what is missing; see `settle`."""
        for wanted in plan.variants:
            variant = self._variants[wanted.name]
            missing = wanted.count - len(variant.servers)
            with self._state:
                made = [self._make(wanted, None, served=False) for _ in range(missing)]
                variant.servers.extend(made)
            for server in made:
                server.start()

    def settle(self, plan: DeploymentPlan) -> None:
        """Go by `plan` from now on; servers beyond its counts end, the failed ones first."""
        surplus: list[ManagedServer] = []
        with self._state:
            self.plan = plan
            self._turns.change(_weights(plan))
            for wanted in plan.variants:
                variant = self._variants[wanted.name]
                variant.plan = wanted
                variant.servers.sort(key=lambda server: server.phase is not Phase.SERVING)
                surplus += variant.servers[wanted.count :]
                del variant.servers[wanted.count :]
        self._end(surplus)

    def _make(
        self, plan: VariantPlan, found: RunningServer | None, *, served: bool
    ) -> ManagedServer:
        place = Place(self._endpoint, plan, {**self._labels, VARIANT_LABEL: plan.name})
        return ManagedServer(self._workshop, place, self._changed, found, served=served)

    def stop(self) -> None:
        """End every server once its invocations have ended; nothing of them is left then."""
        with self._state:
            self._stopping = True
            servers = self._servers()
            self._state.notify_all()
        self._end(servers)

    def _end(self, servers: Sequence[ManagedServer]) -> None:
        with self._state:
            self._draining = True
            self._state.wait_for(lambda: not any(s.active for s in servers), DRAIN_SECONDS)
            self._draining = False
        for server in servers:
            server.stop()
        for server in servers:
            server.join(DRAIN_SECONDS)

    def kill(self) -> None:
        """End every server at once, whatever it does."""
        with self._state:
            self._stopping = True
            servers = self._servers()
            self._state.notify_all()
        for server in servers:
            server.stop()
        for server in servers:
            server.join(DRAIN_SECONDS)

    def detach(self) -> None:
        """Leave every server running: the gateway leaves."""
        with self._state:
            self._stopping = True
            for server in self._servers():
                server.detach()
            self._state.notify_all()

    # --- looking ---

    def _servers(self) -> list[ManagedServer]:
        return [server for variant in self._variants.values() for server in variant.servers]

    def wait_until_up(self) -> str | None:
        """Wait until every server serves; the problem of the first that has failed, else None."""

        def decided() -> bool:
            servers = self._servers()
            return (
                self._stopping
                or any(server.phase is Phase.FAILED for server in servers)
                or all(server.phase is Phase.SERVING for server in servers)
            )

        with self._state:
            self._state.wait_for(decided)
            if self._stopping:
                return "It was stopped."
            failed = (each for each in self._servers() if each.phase is Phase.FAILED)
            return next((each.problem or "It failed." for each in failed), None)

    def wait_for_found(self, timeout: float) -> None:
        """Wait until each server that was found running has been asked, at most `timeout` s."""

        def asked() -> bool:
            found = [server for server in self._servers() if server.found]
            return self._stopping or all(each.phase is not Phase.STARTING for each in found)

        with self._state:
            self._state.wait_for(asked, timeout)

    def serving_count(self, variant: str | None = None) -> int:
        """How many servers serve, of one variant or of all."""
        return sum(
            server.phase is Phase.SERVING
            for name, each in self._variants.items()
            if variant in (None, name)
            for server in each.servers
        )

    def problems(self, variant: str | None = None) -> list[str]:
        """Why servers that do not serve do not."""
        return [
            server.problem
            for name, each in self._variants.items()
            if variant in (None, name)
            for server in each.servers
            if server.problem is not None
        ]

    def restarts(self, variant: str) -> int:
        return sum(server.restarts for server in self._variants[variant].servers)

    def addresses(self, variant: str) -> list[str]:
        """Where the servers of a variant answer."""
        found = (server.address for server in self._variants[variant].servers)
        return [address for address in found if address is not None]

    def statistics(self, variant: str) -> InvocationStatistics:
        return self._variants[variant].statistics

    def _changed(self) -> None:
        with self._state:
            self._state.notify_all()
        self._tell()

    # --- leases ---

    def take(self, target: str | None) -> Lease:
        """A server for one invocation, of variant `target` or of the next in turn.

        Raises:
            Retired: the fleet has been replaced; ask the endpoint again.
            ServiceError: ``ValidationError``, ``ThrottlingException``, ``ServiceUnavailable``.
        """
        with self._state:
            if self._stopping:
                raise Retired
            variant = self._choose(target)
            _check_concurrency(variant, self._endpoint)
            server = variant.idlest()
            connections = None if server is None else server.connections
            if server is None or connections is None:
                raise _unavailable(self._endpoint, variant)
            server.active += 1
        return Lease(variant.plan, connections, variant.statistics, lambda: self._give_back(server))

    def take_next(self, most: int) -> Lease | None:
        """A server of the variant in turn that has fewer than `most` invocations.

        None where that variant has none just now: it keeps its turn, so that the weights hold
        however long the servers take. One caller at a time.

        Raises:
            Retired: as `take`.
            ServiceError: no server is up.
        """
        with self._state:
            if self._stopping:
                raise Retired
            variant = self._variants.get(self._waiting or "")
            if variant is None or variant.idlest() is None:
                variant = self._choose(None)
                self._waiting = variant.plan.name
            server = variant.idlest()
            connections = None if server is None else server.connections
            if server is None or connections is None:
                raise _unavailable(self._endpoint, variant)
            if server.active >= most:
                return None
            self._waiting = None
            server.active += 1
        return Lease(variant.plan, connections, variant.statistics, lambda: self._give_back(server))

    def _choose(self, target: str | None) -> _Variant:
        if target is not None:
            if target not in self._variants:
                raise ServiceError("ValidationError", f"Variant {target} not found for request.")
            return self._variants[target]
        up = [name for name, each in self._variants.items() if each.idlest() is not None]
        name = self._turns.next(up)
        if name is not None:
            return self._variants[name]
        if up:
            raise ServiceError(
                "ValidationError",
                f"Every variant of endpoint {self._endpoint} that is up has weight 0; name one as "
                "TargetVariant.",
            )
        return next(iter(self._variants.values()))

    def _give_back(self, server: ManagedServer) -> None:
        with self._state:
            server.active -= 1
            if self._draining and server.active == 0:
                self._state.notify_all()


def _check_concurrency(variant: _Variant, endpoint: str) -> None:
    serverless = variant.plan.serverless
    if serverless is not None and variant.active >= serverless.maximum_concurrency:
        # Seen of the service: this code with status 400 and, often, no message.
        raise ServiceError(
            "ThrottlingException",
            f"Variant {variant.plan.name} of endpoint {endpoint} has its "
            f"{serverless.maximum_concurrency} concurrent invocations (MaxConcurrency).",
        )


def _unavailable(endpoint: str, variant: _Variant) -> ServiceError:
    problems = [server.problem for server in variant.servers if server.problem]
    why = f" {problems[0]}" if problems else ""
    return ServiceError(
        "ServiceUnavailable",
        f"No server of variant {variant.plan.name} of endpoint {endpoint} is up.{why}",
        status=503,
    )


def _weights(plan: DeploymentPlan) -> dict[str, float]:
    return {variant.name: variant.weight for variant in plan.variants}
