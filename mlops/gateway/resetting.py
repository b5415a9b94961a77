"""``POST /_mlops/reset``: a gateway as new, for tests that share one.

It deletes what a person cannot get back, so two things have to come together: the gateway was
started for it (the setting ``allow_reset``), and the request names the state folder that it means.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from mlops.errors import MlopsError, UsageError
from mlops.execution import ExecutionManager
from mlops.functions import FunctionManager
from mlops.hosting import EndpointManager
from mlops.ports import JsonObject, StateStore
from mlops.settings import Settings
from mlops.stores.objects import FileObjectStore

WAIT_SECONDS = 60.0
_FOLDERS = ("executions", "jobs")


class Resetter:
    """Clears a state folder while its gateway runs. Requests of others meanwhile may fail."""

    def __init__(
        self,
        settings: Settings,
        state: StateStore,
        objects: FileObjectStore,
        executions: ExecutionManager,
        endpoints: EndpointManager,
        functions: FunctionManager,
        clear_queues: Callable[[], None],
        clear_moto: Callable[[], None],
        clear_registry: Callable[[], None],
        clear_stacks: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._state = state
        self._objects = objects
        self._executions = executions
        self._endpoints = endpoints
        self._functions = functions
        self._clear_queues = clear_queues
        self._clear_moto = clear_moto
        self._clear_registry = clear_registry
        self._clear_stacks = clear_stacks

    def reset(self, store: str) -> JsonObject:
        """Stop what runs and delete all that there is; `store` is the state folder's whole path.

        Raises:
            UsageError: this gateway is not to be reset, or `store` names another folder.
            MlopsError: something of it could not be ended; what was deleted stays deleted.
        """
        self._check(store)
        self._clear_stacks()
        self._end_executions()
        self._executions.direct_jobs.end_all(WAIT_SECONDS)
        for endpoint in self._endpoints.list():
            self._endpoints.delete(endpoint.record.name, endpoint.record.arn)
        for function in self._functions.list_functions():
            self._functions.delete_function(function["FunctionName"])
        self._clear_queues()
        self._clear_moto()
        self._clear_registry()
        self._state.clear()
        self._delete_objects()
        for name in _FOLDERS:
            shutil.rmtree(self._settings.store / name, ignore_errors=True)
        return {"reset": str(self._settings.store)}

    def _check(self, store: str) -> None:
        if not self._settings.allow_reset:
            raise UsageError(
                "This gateway was not started to be reset: nothing has been deleted",
                where=str(self._settings.store),
                next_step="start one with MLOPS_ALLOW_RESET=true and a --store of its own",
            )
        if Path(store) != self._settings.store:
            raise UsageError(
                f"The request is to reset {store or 'no folder'}: nothing has been deleted",
                where=str(self._settings.store),
                next_step='send {"store": …} with the state folder of this gateway',
            )

    def _end_executions(self) -> None:
        running = self._state.unfinished_executions()
        for execution in running:
            self._executions.stop(execution.arn)
        for execution in running:
            if self._executions.wait(execution.arn, WAIT_SECONDS) is None:
                raise MlopsError(f"The execution {execution.id} does not end")

    def _delete_objects(self) -> None:
        for bucket, _ in self._objects.list_buckets():
            for each in list(self._objects.list_versions(bucket)):
                self._objects.delete_object(bucket, each.key, version_id=each.version_id)
            self._objects.delete_bucket(bucket)
