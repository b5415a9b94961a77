"""Repositories, their settings, policies and tags, and GetAuthorizationToken."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from mlops.errors import ServiceError
from mlops.ports import JsonObject, ResourceRecord
from mlops.services.ecr.credentials import USER
from mlops.services.ecr.failures import invalid
from mlops.services.ecr.paging import page
from mlops.services.ecr.registry import Registry
from mlops.services.ecr.rules import check_mutability, check_policy
from mlops.services.operation import Handler


class RepositoryOperations:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._repositories = registry.repositories
        self._state = registry.contents.state

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "GetAuthorizationToken": self._get_token,
            "CreateRepository": self._create,
            "DescribeRepositories": self._describe,
            "DeleteRepository": self._delete,
            "PutImageTagMutability": self._put_mutability,
            "PutImageScanningConfiguration": self._put_scanning,
            "SetRepositoryPolicy": self._set_policy,
            "GetRepositoryPolicy": self._get_policy,
            "DeleteRepositoryPolicy": self._delete_policy,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
        }

    def _get_token(self, request: JsonObject) -> JsonObject:
        own = self._repositories.registry_id
        others = [each for each in request.get("registryIds", []) if each != own]
        if others:
            raise invalid(
                f"Invalid parameter at 'registryIds' failed to satisfy constraint: 'the local "
                f"gateway has the registry {own} and not {others[0]}'"
            )
        password, expires = self._registry.credentials.password()
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        data = {
            "authorizationToken": token,
            "expiresAt": expires,
            "proxyEndpoint": f"http://{self._registry.address()}",
        }
        return {"authorizationData": [data]}

    # --- repositories ---

    def _create(self, request: JsonObject) -> JsonObject:
        return {"repository": self._told(self._repositories.create(request))}

    def _describe(self, request: JsonObject) -> JsonObject:
        names = request.get("repositoryNames")
        if names is not None:
            if "nextToken" in request or "maxResults" in request:
                raise invalid("nextToken and maxResults do not go with repositoryNames")
            registry_id = request.get("registryId")
            found = [self._repositories.get(name, registry_id) for name in names]
            return {"repositories": [self._told(record) for record in found]}
        if request.get("registryId") not in (None, self._repositories.registry_id):
            return {"repositories": []}
        records, token = page(self._repositories.list(), request, lambda record: record.name)
        return {"repositories": [self._told(record) for record in records], "nextToken": token}

    def _delete(self, request: JsonObject) -> JsonObject:
        return {"repository": self._told(self._repositories.delete(request))}

    def _put_mutability(self, request: JsonObject) -> JsonObject:
        setting = request["imageTagMutability"]
        filters = request.get("imageTagMutabilityExclusionFilters", [])
        check_mutability(setting, filters)
        record = self._repositories.change(
            request, imageTagMutability=setting, imageTagMutabilityExclusionFilters=filters
        )
        return self._named(record) | {
            "imageTagMutability": setting,
            "imageTagMutabilityExclusionFilters": filters or None,
        }

    def _put_scanning(self, request: JsonObject) -> JsonObject:
        wanted = {"scanOnPush": request["imageScanningConfiguration"].get("scanOnPush", False)}
        record = self._repositories.change(request, imageScanningConfiguration=wanted)
        return self._named(record) | {"imageScanningConfiguration": wanted}

    # --- policies ---

    def _set_policy(self, request: JsonObject) -> JsonObject:
        text = request["policyText"]
        check_policy(text)
        record = self._repositories.change(request, policy=text)
        return self._named(record) | {"policyText": text}

    def _get_policy(self, request: JsonObject) -> JsonObject:
        record = self._repositories.of_request(request)
        text = record.document["policy"]
        if text is None:
            raise ServiceError(
                "RepositoryPolicyNotFoundException",
                f"Repository policy does not exist for the repository with name '{record.name}' "
                f"in the registry with id '{self._repositories.registry_id}'",
            )
        return self._named(record) | {"policyText": text}

    def _delete_policy(self, request: JsonObject) -> JsonObject:
        answer = self._get_policy(request)
        self._repositories.change(request, policy=None)
        return answer

    # --- tags ---

    def _tag(self, request: JsonObject) -> JsonObject:
        self._repositories.add_tags(request["resourceArn"], request["tags"])
        return {}

    def _untag(self, request: JsonObject) -> JsonObject:
        record = self._repositories.by_arn(request["resourceArn"])
        self._state.delete_tags(record.arn, request["tagKeys"])
        return {}

    def _list_tags(self, request: JsonObject) -> JsonObject:
        tags = self._state.get_tags(self._repositories.by_arn(request["resourceArn"]).arn)
        return {"tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    # --- answers ---

    def _named(self, record: ResourceRecord) -> JsonObject:
        return {"registryId": self._repositories.registry_id, "repositoryName": record.name}

    def _told(self, record: ResourceRecord) -> JsonObject:
        document = record.document
        return self._named(record) | {
            "repositoryArn": record.arn,
            "repositoryUri": self._repositories.uri(record.name),
            "createdAt": record.created_at,
            "imageTagMutability": document["imageTagMutability"],
            "imageTagMutabilityExclusionFilters": (
                document["imageTagMutabilityExclusionFilters"] or None
            ),
            "imageScanningConfiguration": document["imageScanningConfiguration"],
            "encryptionConfiguration": document["encryptionConfiguration"],
        }
