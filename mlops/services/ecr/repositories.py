"""Repositories: made, described, deleted with all that is in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlops.errors import ServiceError
from mlops.ports import Clock, JsonObject, ResourceRecord
from mlops.services.ecr.contents import (
    REPOSITORY,
    Contents,
    images_of,
    layers_of,
    tags_of,
    uploads_of,
)
from mlops.services.ecr.failures import invalid, no_repository
from mlops.services.ecr.rules import MOST_TAGS_OF_A_RESOURCE, MUTABLE, check_mutability, check_tags
from mlops.settings import Settings

_SETTINGS: Mapping[str, Any] = {
    "imageTagMutability": MUTABLE,
    "imageScanningConfiguration": {"scanOnPush": False},
    "encryptionConfiguration": {"encryptionType": "AES256"},
}
"""What a repository has that was made without (CreateRepository in botocore's model)."""


class Repositories:
    """The repositories of one account and region: those of the gateway's settings."""

    def __init__(
        self, contents: Contents, settings: Settings, clock: Clock, address: Callable[[], str]
    ) -> None:
        """`address` is ``host:port`` as the engine of this machine reaches the gateway: records
        do not have it, a gateway may come back on another port.
        """
        self._contents = contents
        self._state = contents.state
        self._settings = settings
        self._clock = clock
        self._address = address

    @property
    def registry_id(self) -> str:
        return self._settings.account_id

    def uri(self, name: str) -> str:
        return f"{self._address()}/{name}"

    def arn(self, name: str) -> str:
        region, account = self._settings.region, self._settings.account_id
        return f"arn:aws:ecr:{region}:{account}:repository/{name}"

    def create(self, request: JsonObject) -> ResourceRecord:
        """Make a repository by a CreateRepository request.

        Raises:
            ServiceError: as ECR answers.
        """
        name = request["repositoryName"]
        self._check_registry(name, request.get("registryId"))
        document = {key: request.get(key, default) for key, default in _SETTINGS.items()}
        document["policy"] = None
        filters = request.get("imageTagMutabilityExclusionFilters", [])
        check_mutability(document["imageTagMutability"], filters)
        document["imageTagMutabilityExclusionFilters"] = filters
        tags = _few(check_tags(request.get("tags", [])))
        now = self._clock.now()
        with self._contents.lock, self._state.transaction():
            if self._state.get_resource(REPOSITORY, name) is not None:
                raise ServiceError(
                    "RepositoryAlreadyExistsException",
                    f"The repository with name '{name}' already exists in the registry with id "
                    f"'{self.registry_id}'",
                )
            record = ResourceRecord(
                kind=REPOSITORY,
                name=name,
                arn=self.arn(name),
                created_at=now,
                last_modified_at=now,
                status="",
                document=document,
            )
            self._state.put_resource(record)
            self._state.set_tags(record.arn, tags)
        return record

    def get(self, name: str, registry_id: str | None = None) -> ResourceRecord:
        """The repository of that name.

        Raises:
            ServiceError: ``RepositoryNotFoundException``; so is every one of another account.
        """
        self._check_registry(name, registry_id)
        record = self._state.get_resource(REPOSITORY, name)
        if record is None:
            raise no_repository(name, self.registry_id)
        return record

    def of_request(self, request: JsonObject) -> ResourceRecord:
        return self.get(request["repositoryName"], request.get("registryId"))

    def by_arn(self, arn: str) -> ResourceRecord:
        prefix = self.arn("")
        if not arn.startswith("arn:aws:ecr:"):
            raise invalid(
                f"Invalid parameter at 'resourceArn' failed to satisfy constraint: "
                f"'Invalid ARN': {arn[:300]}"
            )
        name = arn.partition(":repository/")[2]
        if not arn.startswith(prefix):
            raise no_repository(name, arn.split(":", 5)[4])
        return self.get(name)

    def list(self) -> Sequence[ResourceRecord]:
        return self._state.list_resources(REPOSITORY)

    def change(self, request: JsonObject, **changes: Any) -> ResourceRecord:
        """Set members of a repository's document."""
        with self._contents.lock, self._state.transaction():
            record = self.of_request(request)
            document = {**record.document, **changes}
            changed = replace(record, last_modified_at=self._clock.now(), document=document)
            self._state.put_resource(changed)
        return changed

    def add_tags(self, arn: str, tags: Sequence[Mapping[str, str]]) -> None:
        given = check_tags(tags)
        with self._state.transaction():
            record = self.by_arn(arn)
            _few({**self._state.get_tags(record.arn), **given})
            self._state.set_tags(record.arn, given)

    def delete(self, request: JsonObject) -> ResourceRecord:
        """Delete a repository; what only it had is gone from the disk when this returns.

        Raises:
            ServiceError: ``RepositoryNotEmptyException`` for one with images, without ``force``.
        """
        with self._contents.lock:
            record = self.of_request(request)
            name = record.name
            images = self._state.list_resources(images_of(name))
            if images and not request.get("force"):
                raise ServiceError(
                    "RepositoryNotEmptyException",
                    f"The repository with name '{name}' in registry with id '{self.registry_id}' "
                    "cannot be deleted because it still contains images",
                )
            uploads = self._state.list_resources(uploads_of(name))
            had = [*images, *self._state.list_resources(layers_of(name))]
            with self._state.transaction():
                for kind in (images_of(name), tags_of(name), layers_of(name), uploads_of(name)):
                    for each in self._state.list_resources(kind):
                        self._state.delete_resource(kind, each.name)
                self._state.delete_tags(record.arn, list(self._state.get_tags(record.arn)))
                self._state.delete_resource(REPOSITORY, name)
            for upload in uploads:
                self._contents.blobs.cancel(upload.name)
            self._contents.delete_unused(each.name for each in had)
        return record

    def _check_registry(self, name: str, registry_id: str | None) -> None:
        if registry_id not in (None, self.registry_id):
            raise no_repository(name, str(registry_id))


def _few(tags: Mapping[str, str]) -> Mapping[str, str]:
    if len(tags) > MOST_TAGS_OF_A_RESOURCE:
        raise ServiceError(
            "TooManyTagsException",
            f"A repository may have {MOST_TAGS_OF_A_RESOURCE} tags at most",
        )
    return tags
