"""``ports.ModelServers``: servers of the models that CreateModel has made, for batch jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mlops.hosting.artifacts import place_model
from mlops.hosting.batch_server import BatchServer
from mlops.hosting.plan import Catalogue, VariantPlan, plan_variant
from mlops.ports import Clock, ContainerRuntime, ObjectStore, ServerSpec, StateStore
from mlops.services.arns import Arns
from mlops.settings import Settings
from mlops.surroundings import common_environment, surroundings_at


class ServiceModelServers:
    """Implements `mlops.ports.ModelServers`."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        runtime: ContainerRuntime,
        clock: Clock,
        settings: Settings,
        gateway_url: Callable[[], str],
    ) -> None:
        arns = Arns(settings.region, settings.account_id)
        self._catalogue = Catalogue(state.get_model, state.get_model_package, arns.model)
        self._objects = objects
        self._runtime = runtime
        self._clock = clock
        self._region = settings.region
        self._gateway_url = gateway_url

    def check(self, model_name: str) -> None:
        """As `ModelServers.check`."""
        self._plan(model_name)

    def start(
        self,
        model_name: str,
        *,
        name: str,
        folder: Path,
        log: Path,
        environment: Mapping[str, str],
        labels: Mapping[str, str],
    ) -> BatchServer:
        """As `ModelServers.start`."""
        plan = self._plan(model_name)
        place_model(self._objects, plan.data, folder / "model")
        around = surroundings_at(self._gateway_url(), self._runtime.gateway_host, self._region)
        running = self._runtime.serve(
            ServerSpec(
                name=name,
                image=plan.image,
                folder=folder,
                log=log,
                environment={**common_environment(around), **plan.environment, **environment},
                labels=labels,
            )
        )
        return BatchServer(running, plan, log, self._clock)

    def _plan(self, model_name: str) -> VariantPlan:
        return plan_variant({"VariantName": model_name, "ModelName": model_name}, self._catalogue)
