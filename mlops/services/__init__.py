"""The AWS operations that are answered here: each a function from request to answer.

Nothing in this package knows of HTTP: a request is the plain mapping of botocore's input shape,
an answer that of its output shape, an error a ``ServiceError`` with AWS's code. ``gateway`` puts
them on the wire; ``execution`` reaches the registry through ``ports.ModelRegistry``.
"""

from mlops.services.endpoint_host import ServiceEndpointHost
from mlops.services.lambda_ import LambdaService
from mlops.services.logs import LogsService
from mlops.services.model_servers import ServiceModelServers
from mlops.services.queues import QueueService
from mlops.services.registry import ServiceRegistry
from mlops.services.runtime import RuntimeService
from mlops.services.sagemaker import SageMakerService
from mlops.services.sts import IamService, StsService

__all__ = [
    "IamService",
    "LambdaService",
    "LogsService",
    "QueueService",
    "RuntimeService",
    "SageMakerService",
    "ServiceEndpointHost",
    "ServiceModelServers",
    "ServiceRegistry",
    "StsService",
]
