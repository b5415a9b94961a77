"""All functions of a state folder: the public face of this package."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from mlops.errors import ImageUnavailable, ServiceError
from mlops.functions import configuration as configurations
from mlops.functions.code import fetch_zip, store_zip
from mlops.functions.function import KIND, Function
from mlops.functions.http import EventLoop
from mlops.functions.invoker import Invoker
from mlops.functions.names import FunctionNames
from mlops.functions.plan import FUNCTIONS_LABEL, FunctionFolders, worker_plan
from mlops.functions.pool import IDLE_SECONDS, WorkerPool
from mlops.functions.refusals import conflict, invalid
from mlops.functions.worker import Worker
from mlops.image_uri import parse_image_uri
from mlops.listening import listening_host
from mlops.ports import Clock, ContainerRuntime, ImageSource, JsonObject, ObjectStore, StateStore
from mlops.settings import Settings
from mlops.surroundings import surroundings_at

KEPT_LOGS = 20
"""Log files of one function, a file for each worker: the newest stay."""

_logger = logging.getLogger(__name__)


class FunctionManager:
    """Makes, changes, invokes and deletes functions. Implements `mlops.ports.FunctionHost`."""

    def __init__(
        self,
        objects: ObjectStore,
        state: StateStore,
        runtime: ContainerRuntime,
        clock: Clock,
        settings: Settings,
        gateway_url: Callable[[], str],
        *,
        idle_seconds: float = IDLE_SECONDS,
        images: ImageSource | None = None,
    ) -> None:
        """`idle_seconds`: so long a worker waits for another invocation. `images` has what the
        gateway's own registry has.
        """
        self._images = images
        self._objects = objects
        self._state = state
        self._runtime = runtime
        self._clock = clock
        self._settings = settings
        self._gateway_url = gateway_url
        self._names = FunctionNames(settings.region, settings.account_id)
        self._pool = WorkerPool(idle_seconds)
        self._invoker = Invoker(self._pool, self._start_worker)
        self._lock = threading.Lock()
        self._loop: EventLoop | None = None

    # --- the life of the gateway ---

    def up(self) -> int:
        """How many invocations run now; idle workers keep no gateway from leaving."""
        return self._invoker.active()

    def recover(self) -> None:
        """End what a gateway that was killed has left of its functions.

        Most of it has ended by then: a runtime whose host is gone can do nothing more.
        """
        for server in self._runtime.find_servers({FUNCTIONS_LABEL: str(self._settings.store)}):
            _logger.info("ending %s, which an earlier gateway left", server.name)
            server.stop(0.0)
        for folder in self._root.glob("*/workers/*"):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """End every worker, also one that runs an invocation."""
        self._pool.close()
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.close()

    # --- functions ---

    def create_function(self, request: JsonObject) -> JsonObject:
        """CreateFunction."""
        name = self._names.read(request["FunctionName"])
        request = {**request, "FunctionName": name}
        configurations.check_supported(request)
        configurations.check_package(request)
        now, arn = self._clock.now(), self._names.arn(name)
        self._refuse_existing(name)
        configuration, code = self._keep_code(
            configurations.new_configuration(request, arn, now), request["Code"]
        )
        with self._state.transaction():
            self._refuse_existing(name)
            self._state.put_resource(Function.new(configuration, code, now).record)
            self._state.set_tags(arn, request.get("Tags", {}))
        return configuration

    def update_function_code(self, request: JsonObject) -> JsonObject:
        """UpdateFunctionCode: the next invocation runs the new code."""
        configurations.check_supported(request)
        function = self._find(request["FunctionName"])
        _check_revision(function, request)
        if ("ImageUri" in request) != function.is_image:
            package = function.configuration["PackageType"]
            raise invalid(f"Please provide code as a function with packageType {package} has it.")
        changed = function.configuration | configurations.revision(self._clock.now())
        if "Architectures" in request:
            changed["Architectures"] = request["Architectures"]
        configuration, code = self._keep_code(changed, request)
        if request.get("DryRun"):
            return configuration
        return self._change(function, configuration, code)

    def update_function_configuration(self, request: JsonObject) -> JsonObject:
        """UpdateFunctionConfiguration: the next invocation runs with it."""
        configurations.check_supported(request)
        function = self._find(request["FunctionName"])
        _check_revision(function, request)
        if function.is_image and ("Handler" in request or "Runtime" in request):
            raise invalid("Handler and Runtime are for functions with packageType Zip.")
        if "Runtime" in request:
            configurations.check_runtime(request["Runtime"])
        changed = configurations.changed_configuration(
            function.configuration, request, self._clock.now()
        )
        return self._change(function, changed, dict(function.code))

    def get_function(self, name: str) -> JsonObject:
        """GetFunction."""
        function = self._find(name)
        tags = self._state.get_tags(function.arn)
        return {
            "Configuration": function.configuration,
            "Code": self._code_location(function),
            **({"Tags": dict(tags)} if tags else {}),
        }

    def list_functions(self) -> Sequence[JsonObject]:
        """The configuration of every function, by name."""
        found = (Function(record).configuration for record in self._state.list_resources(KIND))
        return sorted(found, key=lambda configuration: str(configuration["FunctionName"]))

    def delete_function(self, name: str) -> None:
        """DeleteFunction; its logs stay."""
        function = self._find(name)
        with self._state.transaction():
            self._state.delete_resource(KIND, function.name)
            self._state.delete_tags(function.arn, list(self._state.get_tags(function.arn)))
        self._pool.retire(function.name)
        shutil.rmtree(self.folders(function.name).code, ignore_errors=True)

    def invoke(self, request: JsonObject) -> JsonObject:
        """Invoke; see `Invoker.invoke`."""
        function = self._find(request["FunctionName"], request.get("Qualifier"))
        return self._invoker.invoke(function, request)

    def get_tags(self, arn: str) -> Mapping[str, str]:
        """ListTags."""
        return self._state.get_tags(self._find(arn).arn)

    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """TagResource."""
        self._state.set_tags(self._find(arn).arn, tags)

    def delete_tags(self, arn: str, keys: Sequence[str]) -> None:
        """UntagResource."""
        self._state.delete_tags(self._find(arn).arn, keys)

    def folders(self, name: str) -> FunctionFolders:
        """Where the files of a function are, its logs among them."""
        return FunctionFolders(self._root / name)

    # --- inside ---

    @property
    def _root(self) -> Path:
        return self._settings.store / "functions"

    def _find(self, name: str, qualifier: str | None = None) -> Function:
        name = self._names.read(name, qualifier)
        record = self._state.get_resource(KIND, name)
        if record is None:
            raise self._names.missing(self._names.arn(name))
        return Function(record)

    def _refuse_existing(self, name: str) -> None:
        if self._state.get_resource(KIND, name) is not None:
            raise conflict(f"Function already exist: {name}")

    def _keep_code(
        self, configuration: JsonObject, source: JsonObject
    ) -> tuple[JsonObject, JsonObject]:
        """The configuration that says of the code, and what is stored of it."""
        if "ImageUri" in source:
            told = {name: configuration[name] for name in configuration if name != "CodeSha256"}
            return self._resolved({**told, "CodeSize": 0}, source["ImageUri"])
        content = fetch_zip(source, self._objects)
        code = store_zip(content, self.folders(configuration["FunctionName"]).code)
        return configurations.with_zip(configuration, code), {"digest": code.digest}

    def _resolved(self, configuration: JsonObject, uri: str) -> tuple[JsonObject, JsonObject]:
        """Of an image in the registry a function keeps what the tag points at now, as in AWS:
        another image of that tag is run once UpdateFunctionCode says so.
        """
        named = parse_image_uri(uri)
        if self._images is None or named is None or self._settings.image_for(uri) is not None:
            return configuration, {"ImageUri": uri}
        try:
            found = self._images(uri)
        except ImageUnavailable as error:
            raise invalid(
                f"Source image {uri} does not exist. Provide a valid source image. ({error.what})"
            ) from error
        if found is None:
            return configuration, {"ImageUri": uri}
        resolved = f"{named.registry}/{named.repository}@{found.digest}"
        sha256 = found.digest.removeprefix("sha256:")
        return (
            {**configuration, "CodeSha256": sha256},
            {"ImageUri": uri, "ResolvedImageUri": resolved},
        )

    def _change(
        self, function: Function, configuration: JsonObject, code: JsonObject
    ) -> JsonObject:
        with self._state.transaction():
            if self._find(function.name).revision != function.revision:
                raise conflict(f"Another update of the function {function.name} is in progress")
            changed = function.changed(configuration, code, self._clock.now())
            self._state.put_resource(changed.record)
        self._pool.retire(function.name)
        return configuration

    def _code_location(self, function: Function) -> JsonObject:
        if function.is_image:
            uri = function.code["ImageUri"]
            return {"RepositoryType": "ECR", "ImageUri": uri, "ResolvedImageUri": function.image}
        place = self.folders(function.name).code / function.code["digest"] / "code.zip"
        return {"RepositoryType": "S3", "Location": place.as_uri()}

    def _start_worker(self, function: Function) -> Worker:
        host = self._runtime.gateway_host
        folders = self.folders(function.name)
        plan = worker_plan(
            function,
            folders,
            surroundings_at(self._gateway_url(), host, self._settings.region),
            str(self._settings.store),
            uuid4().hex[:12],
            self._clock.now(),
        )
        plan.spec.folder.mkdir(parents=True, exist_ok=True)
        _keep_newest_logs(folders.logs)
        return Worker(plan, self._runtime, self._event_loop(), listening_host(host))

    def _event_loop(self) -> EventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = EventLoop()
            return self._loop


def _check_revision(function: Function, request: JsonObject) -> None:
    if request.get("RevisionId", function.revision) != function.revision:
        raise ServiceError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the "
            "GetFunction/GetAlias API to retrieve the latest Revision Id",
            status=412,
        )


def _keep_newest_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*.log"), reverse=True)[KEPT_LOGS:]:
        log.unlink(missing_ok=True)
