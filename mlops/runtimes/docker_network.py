"""The network of a job that has several containers: there from the first of them to the last.

A network of its own (and not the engine's default one) because only there the engine's name server
knows the containers' aliases, and because two jobs both have an ``algo-1``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from docker.errors import APIError, NotFound

from mlops.ports import JobSpec, Peers
from mlops.runtimes.docker_engine import Engine, translated

NETWORK_LABEL = "mlops.network"


class JobNetworks:
    """Makes, counts and removes the networks. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._members: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def enter(self, config: dict[str, Any], job: JobSpec, peers: Peers) -> None:
        """Make the job's network where it is missing, and let the container's `config` join it.

        Raises:
            JobError, RuntimeUnavailable: as the engine says.
        """
        with self._lock:
            if not self._members.get(peers.network):
                self._make(job, peers)
            self._members.setdefault(peers.network, set()).add(peers.host)
        config["Hostname"] = peers.host
        config["HostConfig"]["NetworkMode"] = peers.network
        endpoint = self._engine.client.create_endpoint_config(aliases=[peers.host])
        config["NetworkingConfig"] = {"EndpointsConfig": {peers.network: endpoint}}

    def leave(self, peers: Peers) -> None:
        """A container has gone; with the last one the network goes. Idempotent.

        Raises:
            JobError, RuntimeUnavailable: as the engine says.
        """
        with self._lock:
            members = self._members.get(peers.network)
            if members is None:
                return
            members.discard(peers.host)
            if not members:
                del self._members[peers.network]
                self._remove(peers.network)

    def remove_leftovers(self, labels: Mapping[str, str]) -> None:
        """Remove the networks that an earlier process left; those in use stay."""
        wanted = [NETWORK_LABEL, *(f"{name}={value}" for name, value in labels.items())]
        with translated("Left-over networks cannot be listed"):
            found = self._engine.client.networks(filters={"label": wanted})
        with self._lock:
            for network in found:
                if network["Name"] not in self._members:
                    self._remove(network["Id"])

    def _make(self, job: JobSpec, peers: Peers) -> None:
        labels = {**job.labels, NETWORK_LABEL: peers.network}
        with translated(
            f"The network of job {job.name} cannot be made",
            next_step="docker network prune, or set the job's InstanceCount to 1",
        ):
            if not self._engine.client.networks(names=[f"^{peers.network}$"]):
                self._engine.client.create_network(peers.network, labels=labels)

    def _remove(self, network: str) -> None:
        with translated(f"Network {network} cannot be removed"):
            try:
                self._engine.client.remove_network(network)
            except NotFound:
                return
            except APIError as error:
                if error.status_code != 403:  # somebody else has joined it: it is theirs
                    raise
