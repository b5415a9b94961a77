"""The gateway's own operations, as any client calls them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import JsonObject


class GatewayDoor:
    """Clients of one gateway, made when they are first asked for. Thread-safe."""

    def __init__(self, url: Callable[[], str], region: str) -> None:
        self._url = url
        self.region = region
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def call(self, service: str, operation: str, **request: Any) -> JsonObject:
        """As `types.base.Aws.call`.

        Raises:
            ServiceError: as the service answers; ``ValidationException`` where botocore does not
                even send the request.
            EnvironmentLacks: the gateway does not answer.
        """
        from botocore import xform_name
        from botocore.exceptions import ParamValidationError

        from mlops.aws import errors_of

        client = self._client(service)
        with errors_of(client):
            try:
                answer: JsonObject = getattr(client, xform_name(operation))(**request)
            except ParamValidationError as error:
                raise ServiceError("ValidationException", str(error)) from error
        return answer

    def _client(self, service: str) -> Any:
        from mlops.aws import gateway_session

        with self._lock:
            if service not in self._clients:
                self._session = self._session or gateway_session(self._url(), self.region)
                self._clients[service] = self._session.client(service)
            return self._clients[service]
