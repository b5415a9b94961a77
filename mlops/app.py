"""The composition root: the one place that knows every part and puts them together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.backends import Backend
    from mlops.execution.step_run import Parts
    from mlops.gateway.address import GatewayAddress
    from mlops.gateway.client import GatewayClient
    from mlops.gateway.server import Gateway, Listeners
    from mlops.gateway.wire import WsgiApp
    from mlops.ports import Clock, ContainerRuntime, ImageSource, JsonObject, RegistryImage
    from mlops.runtimes.findings import Finding
    from mlops.runtimes.standing import Judge

# Imports of parts are inside the functions: a command pays for what it uses alone.


def compose_gateway(settings: Settings, runtime: ContainerRuntime | None = None) -> Gateway:
    """Everything behind one gateway, answering when this returns.

    `runtime` replaces the one that the settings choose (tests hand in the fake).

    Raises:
        RuntimeUnavailable, PortInUse, DiskFull, StoreError: why it cannot start.
    """
    from dataclasses import replace

    from mlops.clock import SystemClock
    from mlops.execution import ExecutionManager
    from mlops.execution.planning import Planner
    from mlops.functions import FunctionManager
    from mlops.gateway.address import code_version, settings_digest
    from mlops.gateway.endpoint_details import EndpointDetails
    from mlops.gateway.execution_details import ExecutionDetails
    from mlops.gateway.following import Follower
    from mlops.gateway.internal import InternalApi
    from mlops.gateway.invocations import InvocationFace
    from mlops.gateway.json_face import JsonFace
    from mlops.gateway.lambda_face import LambdaFace
    from mlops.gateway.local_registry import LocalRegistry
    from mlops.gateway.moto.face import MotoFace
    from mlops.gateway.moto.iam import IamFace
    from mlops.gateway.moto.journal import Journal
    from mlops.gateway.moto.world import World
    from mlops.gateway.protocols.query import QueryFace
    from mlops.gateway.resetting import Resetter
    from mlops.gateway.router import REGISTRY, Router
    from mlops.gateway.s3 import S3Face
    from mlops.gateway.server import Closing, Gateway, Listeners, health_document
    from mlops.gateway.sqs_face import SqsFace
    from mlops.hosting import EndpointManager
    from mlops.runtimes.choice import choose_runtime
    from mlops.services import (
        IamService,
        LambdaService,
        LogsService,
        QueueService,
        RuntimeService,
        SageMakerService,
        ServiceEndpointHost,
        ServiceModelServers,
        ServiceRegistry,
        StsService,
    )
    from mlops.services.cloudformation import NAMESPACE as CLOUDFORMATION_NAMESPACE
    from mlops.services.cloudformation import StackHost
    from mlops.services.events import EventBus, EventsService, deliveries, watched
    from mlops.stores.objects import FileObjectStore
    from mlops.stores.state import SqliteStateStore

    clock = SystemClock()

    def pulled(uri: str) -> RegistryImage | None:
        return registry.image(uri)

    jobs = runtime or choose_runtime(settings, images=pulled)
    records = SqliteStateStore(settings.store / "state.db")
    bus = EventBus(records, settings, clock, lambda: deliveries(functions, queues))
    state = watched(records, bus)
    objects = FileObjectStore(settings.store / "objects")
    listeners = Listeners(settings.gateway_port, jobs.gateway_host, settings.gateway_host)
    hosting = EndpointManager(
        objects,
        state,
        jobs,
        clock,
        settings,
        lambda: listeners.signing_url,
        lambda name: choose_runtime(replace(settings, runtime=name), images=pulled),
    )
    functions = FunctionManager(
        objects, state, jobs, clock, settings, lambda: listeners.signing_url, images=pulled
    )
    registry = LocalRegistry(state, settings, clock, lambda: listeners.url)
    leaving = threading.Event()
    queues = QueueService(state, settings, clock, listeners.url, leaving)
    stacks = StackHost(state, settings, clock, lambda: listeners.url, leaving)
    world = World(Journal(settings.store), settings, clock)
    others = MotoFace(world)
    iam = IamFace(world, others, IamService(settings).handle, settings.account_id)
    manager = ExecutionManager(
        objects,
        state,
        jobs,
        ServiceRegistry(state, settings, clock),
        clock,
        settings,
        lambda: listeners.signing_url,
        endpoints=ServiceEndpointHost(state, hosting, settings, clock),
        functions=functions,
        queues=queues,
        models=ServiceModelServers(
            state, objects, jobs, clock, settings, lambda: listeners.signing_url
        ),
    )
    gateway = Gateway(
        listeners=listeners,
        executions=manager,
        hosts=[hosting, functions, stacks],
        runtime=jobs.name,
        started_at=clock.now(),
        leaving=leaving,
        admit=_admission(settings, listeners, clock),
        closing=[
            Closing("stacks", stacks.close),
            Closing("endpoints", hosting.close),
            Closing("functions", functions.close),
            Closing("events", bus.close),
            Closing("moto", world.close),
            Closing("state store", records.close),
            Closing("object store", objects.close),
        ],
        idle_limit=settings.gateway_idle_seconds,
    )
    internal = InternalApi(
        state=state,
        details=ExecutionDetails(state, objects, settings.store, jobs.name),
        endpoints=EndpointDetails(hosting),
        follower=Follower(state, manager, settings.store, leaving),
        planner=Planner(
            state, objects, jobs, ServiceRegistry(state, settings, clock), clock, settings
        ),
        clock=clock,
        health=lambda: health_document(
            gateway,
            version=code_version(),
            store=settings.store,
            settings_digest=settings_digest(settings),
            running=[execution.arn for execution in state.unfinished_executions()],
            jobs=manager.direct_jobs.names(),
            endpoints=[endpoint.record.name for endpoint in hosting.list()],
            functions=[each["FunctionName"] for each in functions.list_functions()],
            async_invocations=hosting.queued(),
        ),
        shut_down=gateway.shut_down,
        image=pulled,
        reset=Resetter(
            settings,
            state,
            objects,
            manager,
            hosting,
            functions,
            queues.clear,
            world.clear,
            registry.clear,
            stacks.clear,
        ).reset,
    )
    gateway.serve(
        Router(
            internal=internal,
            sagemaker=SageMakerService(
                state,
                objects,
                manager,
                manager.direct_jobs,
                hosting,
                settings,
                clock,
                manager.callbacks,
            ),
            sts=StsService(settings, clock, listeners.job_key, iam.find_role_id),
            s3=S3Face(objects),
            invocations=InvocationFace(RuntimeService(hosting)),
            faces={
                "cloudformation": QueryFace(CLOUDFORMATION_NAMESPACE, stacks.handle),
                "lambda": LambdaFace(LambdaService(functions)),
                "sqs": SqsFace(queues),
                "iam": iam,
                "logs": JsonFace("logs", "Logs_20140328", LogsService(state, settings)),
                "ecr": registry.ecr,
                REGISTRY: registry.distribution,
                "events": JsonFace(
                    "events", "AWSEvents", EventsService(state, settings, clock, bus)
                ),
            },
            others=others,
        )
    )
    return gateway


def _admission(
    settings: Settings, listeners: Listeners, clock: Clock
) -> Callable[[WsgiApp], WsgiApp] | None:
    """What stands before a gateway that listens beyond this machine; nothing before another.

    From then on jobs sign with a key of their own: some are in networks beside the bridge.
    """
    if listeners.host is None:
        return None
    from mlops.gateway.credentials import gateway_keys, job_keys
    from mlops.gateway.guard import Guard

    keys = gateway_keys(settings.store)
    jobs = job_keys(keys)
    listeners.entrust(jobs.access_key_id, jobs.secret_access_key)
    return lambda app: Guard(app, (keys, jobs), listeners.bridge, clock.now)


def exports_beyond(settings: Settings, url: str) -> Mapping[str, str]:
    """The variables of a client on another machine, for the gateway that answers at `url` here."""
    from urllib.parse import urlsplit

    from mlops.gateway.credentials import gateway_keys
    from mlops.listening import EVERYWHERE, own_address

    keys = gateway_keys(settings.store)
    host = settings.gateway_host
    reached = own_address() if host in (None, EVERYWHERE) else host
    return {
        "AWS_ENDPOINT_URL": f"http://{reached}:{urlsplit(url).port}",
        "AWS_DEFAULT_REGION": settings.region,
        "AWS_ACCESS_KEY_ID": keys.access_key_id,
        "AWS_SECRET_ACCESS_KEY": keys.secret_access_key,
    }


def start_gateway(settings: Settings) -> GatewayAddress:
    """The state folder's gateway, started where none runs. See `ensure_gateway` for errors."""
    from mlops.gateway.process import ensure_gateway

    return ensure_gateway(settings)


def stop_gateway(settings: Settings) -> GatewayAddress | None:
    """Stop the state folder's gateway; None where none runs."""
    from mlops.gateway import process

    return process.stop_gateway(settings)


def end_servers(settings: Settings) -> list[str]:
    """End what outlived its gateway of endpoints, functions and direct jobs; the names of it.

    Call it when no gateway runs: it would start them again.

    Raises:
        MlopsError: one of them cannot be ended.
    """
    from dataclasses import replace

    from mlops.errors import RuntimeUnavailable
    from mlops.execution.direct_jobs import JOBS_LABEL
    from mlops.functions.plan import FUNCTIONS_LABEL
    from mlops.ports import SERVERS_LABEL
    from mlops.runtimes.choice import choose_runtime

    ended: list[str] = []
    for name in ("process", "docker"):
        try:
            runtime = choose_runtime(replace(settings, runtime=name))
        except RuntimeUnavailable:
            continue  # nothing can have been started by it
        for label in (SERVERS_LABEL, FUNCTIONS_LABEL, JOBS_LABEL):
            ended += runtime.remove_leftovers({label: str(settings.store)})
    return ended


def gateway_health(settings: Settings) -> JsonObject | None:
    """What the state folder's gateway says of itself; None where none runs."""
    from mlops.gateway.process import find_gateway

    return find_gateway(settings)


def client(settings: Settings) -> GatewayClient:
    """A client of the state folder's gateway, which is started where none runs."""
    from mlops.gateway.client import GatewayClient

    return GatewayClient(start_gateway(settings).url)


def backend(settings: Settings, name: str) -> Backend:
    """The backend `local` or `cloud`."""
    from mlops.backends import CloudBackend, LocalBackend

    return CloudBackend() if name == "cloud" else LocalBackend(settings, lambda: client(settings))


def runtime_name(settings: Settings) -> str:
    """The name of the runtime that the settings choose on this machine."""
    from mlops.runtimes.choice import choose_runtime

    return choose_runtime(settings).name


def probe(settings: Settings) -> tuple[Finding, ...]:
    """What this machine can do for a run, tried out."""
    from mlops.runtimes.probes import probe_machine

    return probe_machine(settings)


def image_judge(settings: Settings) -> Judge:
    """What says of an image URI how it stands on this machine."""
    from mlops.runtimes.standing import judge_images

    def registry() -> ImageSource | None:
        from mlops.gateway.client import GatewayClient

        health = gateway_health(settings)
        return None if health is None else GatewayClient(health["url"]).registry_image

    return judge_images(settings, registry)


@contextmanager
def job_parts(settings: Settings, gateway_url: str) -> Iterator[Parts]:
    """What a job needs that the command itself runs, beside the gateway: no state, no services.

    The object store is made for several processes; the state store has one, the gateway.

    Raises:
        RuntimeUnavailable: there is no runtime.
    """
    from mlops.clock import SystemClock
    from mlops.execution.outputs import SYNC_SECONDS
    from mlops.execution.step_run import NoCache, NoRegistry, Parts
    from mlops.execution.stopping import StopSignal
    from mlops.gateway.client import GatewayClient
    from mlops.runtimes.choice import choose_runtime
    from mlops.stores.objects import FileObjectStore

    runtime = choose_runtime(settings, images=GatewayClient(gateway_url).registry_image)
    objects = FileObjectStore(settings.store / "objects")
    try:
        yield Parts(
            objects,
            runtime,
            NoRegistry(),
            SystemClock(),
            settings,
            lambda: gateway_url,
            SYNC_SECONDS,
            NoCache(),
            StopSignal.wait,
        )
    finally:
        objects.close()
