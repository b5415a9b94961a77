"""The SageMaker service: every operation that is answered here, under its AWS name."""

from __future__ import annotations

from collections.abc import Mapping

from mlops import aws_model
from mlops.errors import ServiceError
from mlops.hosting import EndpointManager
from mlops.ports import Clock, JsonObject, ObjectStore, StateStore
from mlops.services.answers import wire_answer
from mlops.services.arns import Arns
from mlops.services.callbacks import Answers, CallbackOperations
from mlops.services.endpoint_configs import EndpointConfigOperations
from mlops.services.endpoints import EndpointOperations
from mlops.services.executions import ExecutionOperations, Executions
from mlops.services.jobs import DirectJobs, JobOperations
from mlops.services.model_packages import ModelPackageOperations
from mlops.services.models import ModelOperations
from mlops.services.operation import Handler
from mlops.services.pipelines import PipelineOperations
from mlops.services.search import SearchOperations
from mlops.services.tags import TagOperations
from mlops.services.validation import checked_request
from mlops.settings import Settings


class SageMakerService:
    """Requests in, answers out, both as botocore's service model has them. Thread-safe."""

    def __init__(
        self,
        state: StateStore,
        objects: ObjectStore,
        executions: Executions,
        jobs: DirectJobs,
        hosting: EndpointManager,
        settings: Settings,
        clock: Clock,
        callbacks: Answers | None = None,
    ) -> None:
        """`callbacks`: what answers to Callback steps go to; without, these are not here."""
        arns = Arns(settings.region, settings.account_id)
        pipelines = PipelineOperations(state, objects, arns, clock.now)
        running = ExecutionOperations(state, executions, pipelines, arns, clock.now)
        packages = ModelPackageOperations(state, arns, clock.now)
        configs = EndpointConfigOperations(state, arns, clock.now)
        self._running = running
        self._handlers: Mapping[str, Handler] = {
            **pipelines.handlers,
            **(CallbackOperations(callbacks).handlers if callbacks else {}),
            **running.handlers,
            **packages.handlers,
            **ModelOperations(state, arns, clock.now).handlers,
            **configs.handlers,
            **EndpointOperations(state, hosting, configs, arns).handlers,
            **JobOperations(state, jobs, arns).handlers,
            **TagOperations(state).handlers,
            **SearchOperations(state, pipelines, running, packages).handlers,
        }

    @property
    def operations(self) -> tuple[str, ...]:
        """The names of the operations that are answered."""
        return tuple(self._handlers)

    def handle(
        self, operation: str, request: JsonObject, *, cache_mode: str | None = None
    ) -> JsonObject:
        """Answer one operation; the answer is ready for JSON.

        `cache_mode` is what no request of the service can say of an execution that it starts:
        one of `settings.CACHE_MODES`, or ``off`` to run every step again.

        Raises:
            ServiceError: as AWS answers, with the code of the service model; ``NotImplemented``
                (501) for an operation of SageMaker's that is not answered here.
        """
        handler = self._handlers.get(operation)
        if handler is None:
            raise _not_answered(operation)
        checked = checked_request("sagemaker", operation, request)
        if operation == "StartPipelineExecution":
            answer = self._running.start(checked, cache_mode=cache_mode)
        else:
            answer = handler(checked)
        return wire_answer("sagemaker", operation, answer)


def _not_answered(operation: str) -> ServiceError:
    if operation not in aws_model.load_service("sagemaker").operation_names:
        return ServiceError("UnknownOperationException", f"SageMaker has no operation {operation}")
    return ServiceError(
        "NotImplemented",
        f"The local gateway does not answer sagemaker {operation}. "
        "Run what needs it with --backend cloud, or ask for it in the project's issues.",
        status=501,
    )
