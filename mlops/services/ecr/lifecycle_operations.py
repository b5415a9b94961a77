"""PutLifecyclePolicy, GetLifecyclePolicy, DeleteLifecyclePolicy, and their carrying out.

ECR promises to let images go within a day. Here it happens when a policy is put, and with the
first request of any hour: as long as nobody asks, nobody sees what has expired meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from mlops.errors import ServiceError
from mlops.ports import JsonObject, ResourceRecord
from mlops.services.ecr.images import ImageFailure
from mlops.services.ecr.lifecycle import expired, parse_policy
from mlops.services.ecr.registry import Registry
from mlops.services.operation import Handler

_EVERY = timedelta(hours=1)

_logger = logging.getLogger(__name__)


class LifecycleOperations:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._repositories = registry.repositories
        self._lock = threading.Lock()
        self._next: datetime | None = None

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "PutLifecyclePolicy": self._put,
            "GetLifecyclePolicy": self._get,
            "DeleteLifecyclePolicy": self._delete,
        }

    def carry_out_when_due(self) -> None:
        """Carry out every policy, unless that was done within the last hour."""
        now = self._registry.now()
        with self._lock:
            if self._next is not None and now < self._next:
                return
            self._next = now + _EVERY
        for record in self._repositories.list():
            if record.document.get("lifecycle") is not None:
                with suppress(ServiceError):  # it has been deleted meanwhile
                    self._carry_out(record)

    def _carry_out(self, record: ResourceRecord) -> None:
        images, name = self._registry.images, record.name
        with self._registry.contents.lock:
            rules = parse_policy(record.document["lifecycle"])
            for image in expired(rules, images.list(name), self._registry.now()):
                with suppress(ImageFailure):
                    images.delete(name, {"imageDigest": image.digest})
                    _logger.info("the lifecycle policy of %s lets %s go", name, image.digest)
            self._repositories.change(
                {"repositoryName": name}, lifecycleEvaluatedAt=self._registry.now().isoformat()
            )

    def _put(self, request: JsonObject) -> JsonObject:
        text = request["lifecyclePolicyText"]
        parse_policy(text)
        record = self._repositories.change(request, lifecycle=text, lifecycleEvaluatedAt=None)
        self._carry_out(record)
        return self._told(record)

    def _get(self, request: JsonObject) -> JsonObject:
        record = self._repositories.of_request(request)
        if record.document.get("lifecycle") is None:
            raise ServiceError(
                "LifecyclePolicyNotFoundException",
                f"Lifecycle policy does not exist for the repository with name '{record.name}' "
                f"in the registry with id '{self._repositories.registry_id}'",
            )
        return self._told(record) | {"lastEvaluatedAt": record.document["lifecycleEvaluatedAt"]}

    def _delete(self, request: JsonObject) -> JsonObject:
        answer = self._get(request)
        self._repositories.change(request, lifecycle=None)
        return answer

    def _told(self, record: ResourceRecord) -> JsonObject:
        return {
            "registryId": self._repositories.registry_id,
            "repositoryName": record.name,
            "lifecyclePolicyText": record.document["lifecycle"],
        }
