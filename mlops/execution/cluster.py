"""The instances of a job, as its containers see them: pure functions of the request.

The names ``algo-1``, ``algo-2``, … and the instance groups are those of "Distributed Training
Configuration" (AWS documentation, "How Amazon SageMaker AI Provides Training Information").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops.ports import JsonObject

GROUP = "homogeneousCluster"
"""The one group of a job whose request names none."""


@dataclass(frozen=True, slots=True)
class Host:
    """One instance: the host name of its container, and the instance group it belongs to."""

    name: str
    group: str
    instance_type: str


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of an input's objects is one instance's: every `count`-th from `index`."""

    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """All instances of a job, the first one first."""

    hosts: tuple[Host, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(host.name for host in self.hosts)

    @property
    def groups(self) -> dict[str, tuple[Host, ...]]:
        """The instance groups in the request's order."""
        names = dict.fromkeys(host.group for host in self.hosts)
        return {name: tuple(host for host in self.hosts if host.group == name) for name in names}

    def share_of(self, host: Host, groups: Sequence[str] = ()) -> Share | None:
        """The part that `host` has of an input given to `groups` (all when empty); None of none."""
        among = [each for each in self.hosts if not groups or each.group in groups]
        return Share(among.index(host), len(among)) if host in among else None


def training_cluster(request: JsonObject) -> Cluster:
    """The instances of a CreateTrainingJob request's ``ResourceConfig``."""
    resources = request.get("ResourceConfig", {})
    groups = resources.get("InstanceGroups") or [{"InstanceGroupName": GROUP, **resources}]
    return _numbered(
        [
            (group["InstanceGroupName"], group.get("InstanceType", "local"))
            for group in groups
            for _ in range(group.get("InstanceCount", 1))
        ]
    )


def processing_cluster(request: JsonObject) -> Cluster:
    """The instances of a CreateProcessingJob request's ``ClusterConfig``."""
    cluster = request["ProcessingResources"]["ClusterConfig"]
    kind = cluster.get("InstanceType", "local")
    return _numbered([(GROUP, kind)] * cluster.get("InstanceCount", 1))


def _numbered(instances: Sequence[tuple[str, str]]) -> Cluster:
    return Cluster(
        tuple(
            Host(f"algo-{number}", group, kind)
            for number, (group, kind) in enumerate(instances, start=1)
        )
    )
