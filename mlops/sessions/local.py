"""A LocalPipelineSession whose clients talk to the local gateway.

With ``local_mode`` off the SDK takes its ordinary path: CreatePipeline with the whole definition,
tags and parallelism, StartPipelineExecution, and its own execution object for the user. So
``pipeline.upsert()``, ``start()`` and ``execution.wait() / describe() / list_steps() / stop()``
are the SDK's own, and the stock local executor is never built.
"""

from __future__ import annotations

from typing import Any

from mlops.aws import gateway_session, provide
from mlops.dataset import load_dataset
from mlops.errors import GatewayUnavailable
from mlops.lab import lab_assets
from mlops.sessions.sdk import LocalPipelineSession
from mlops.settings import Settings

NOWHERE = "http://127.0.0.1:9"
"""The discard port: what `CompileSession` has for an endpoint, which nothing is sent to."""


class GatewayPipelineSession(LocalPipelineSession):  # type: ignore[misc]  # the SDK has no types
    """An SDK session for the gateway at `endpoint_url`; making it sends nothing.

    It needs no credentials and reads no AWS profile, variable or SDK configuration file, so that
    what it compiles depends on the settings alone.
    """

    def __init__(self, endpoint_url: str, settings: Settings) -> None:
        self.role = settings.execution_role_arn
        super().__init__(
            boto_session=gateway_session(endpoint_url, settings.region),
            default_bucket=settings.artifact_bucket,
            s3_endpoint_url=endpoint_url,
        )

    def _initialize(
        self, boto_session: Any, sagemaker_client: Any, sagemaker_runtime_client: Any, **_: Any
    ) -> None:
        # Session.__init__ calls this to make the clients (sagemaker/session.py). The stock
        # LocalSession's version builds the stock local executor and reads configuration files.
        self.boto_session = boto_session
        self._region_name = boto_session.region_name
        self.sagemaker_client = boto_session.client("sagemaker")
        self.sagemaker_runtime_client = boto_session.client("sagemaker-runtime")
        self.s3_client = boto_session.client("s3")
        self.s3_resource = boto_session.resource("s3")
        self.sagemaker_config: dict[str, Any] = {}
        self.local_mode = False

    def get_caller_identity_arn(self) -> str:
        """The execution role, which ``sagemaker.get_execution_role(session)`` asks for."""
        return self.role


def upload_lab(session: GatewayPipelineSession, settings: Settings) -> None:
    """Send what the lab's pipeline refers to: data, descriptor, code. For use beside the SDK.

    Call it before ``build_pipeline(session, settings).start()``; `mlops run` does it by itself.

    Raises:
        DataError: the data set cannot be used, or is not here.
    """
    assets = lab_assets(settings, load_dataset(settings.dataset)).all()
    provide(session.s3_client, (settings.artifact_bucket, settings.raw_data_bucket), assets)


class CompileSession(GatewayPipelineSession):
    """A session for pipelines that refer to what is in S3 already: it has no endpoint at all."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(NOWHERE, settings)
        self._default_bucket = settings.artifact_bucket  # else the SDK asks S3 whether it exists
        self.boto_session.events.register("before-send", _refuse_to_send)
        for client in (self.sagemaker_client, self.s3_client, self.s3_resource.meta.client):
            client.meta.events.register("before-send", _refuse_to_send)


def _refuse_to_send(request: Any, **_: Any) -> None:
    raise GatewayUnavailable(
        f"The pipeline sends {request.method} {request.url} while it is compiled without a gateway",
        next_step="compile it as a TARGET of `mlops compile`, which starts the gateway for it",
    )
