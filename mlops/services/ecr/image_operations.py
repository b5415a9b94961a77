"""PutImage, BatchGetImage, BatchDeleteImage, ListImages, DescribeImages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mlops.errors import ServiceError
from mlops.ports import JsonObject
from mlops.services.ecr.failures import invalid
from mlops.services.ecr.images import Image, ImageFailure
from mlops.services.ecr.paging import page
from mlops.services.ecr.registry import Registry
from mlops.services.operation import Handler


class ImageOperations:
    def __init__(self, registry: Registry) -> None:
        self._repositories = registry.repositories
        self._images = registry.images

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "PutImage": self._put,
            "BatchGetImage": self._batch_get,
            "BatchDeleteImage": self._batch_delete,
            "ListImages": self._list,
            "DescribeImages": self._describe,
        }

    def _put(self, request: JsonObject) -> JsonObject:
        name = self._repositories.of_request(request).name
        tag = request.get("imageTag")
        image, changed = self._images.put(
            name,
            request["imageManifest"].encode(),
            media_type=request.get("imageManifestMediaType"),
            tag=tag,
            digest=request.get("imageDigest"),
        )
        if not changed:
            raise ServiceError(
                "ImageAlreadyExistsException",
                f"Image with digest '{image.digest}' and tag '{tag}' already exists in the "
                f"repository with name '{name}' in registry with id "
                f"'{self._repositories.registry_id}'",
            )
        return {"image": self._told(image, tag, request["imageManifest"])}

    def _batch_get(self, request: JsonObject) -> JsonObject:
        accepted = request.get("acceptedMediaTypes")

        def get(name: str, identity: JsonObject) -> Sequence[JsonObject]:
            image = self._images.get(name, identity)
            if accepted is not None and image.media_type not in accepted:
                raise ImageFailure("ImageNotFound", f"The image's media type is {image.media_type}")
            manifest = self._images.manifest(image).decode()
            return [self._told(image, identity.get("imageTag"), manifest)]

        return self._batch(request, "images", get)

    def _batch_delete(self, request: JsonObject) -> JsonObject:
        return self._batch(request, "imageIds", self._images.delete)

    def _batch(
        self,
        request: JsonObject,
        member: str,
        serve: Callable[[str, JsonObject], Sequence[JsonObject]],
    ) -> JsonObject:
        name = self._repositories.of_request(request).name
        served: list[JsonObject] = []
        failures: list[JsonObject] = []
        for identity in request["imageIds"]:
            try:
                served += serve(name, identity)
            except ImageFailure as error:
                told = {"failureCode": error.code, "failureReason": error.reason}
                failures.append({"imageId": identity, **told})
        return {member: served, "failures": failures}

    def _list(self, request: JsonObject) -> JsonObject:
        identifiers = [
            {"imageDigest": image.digest, "imageTag": tag}
            for image in self._filtered(request)
            for tag in (*image.tags,) or (None,)
        ]
        found, token = page(
            identifiers, request, lambda each: f"{each['imageDigest']}:{each['imageTag'] or ''}"
        )
        return {"imageIds": found, "nextToken": token}

    def _describe(self, request: JsonObject) -> JsonObject:
        name = self._repositories.of_request(request).name
        identities = request.get("imageIds")
        if identities is None:
            images, token = page(self._filtered(request), request, lambda image: image.digest)
            return {"imageDetails": [self._detail(each) for each in images], "nextToken": token}
        if "nextToken" in request or "maxResults" in request:
            raise invalid("nextToken and maxResults do not go with imageIds")
        found = {each.digest: each for each in (self._images.require(name, i) for i in identities)}
        wanted = [image for image in found.values() if _passes(image, request)]
        return {"imageDetails": [self._detail(image) for image in wanted]}

    def _filtered(self, request: JsonObject) -> Sequence[Image]:
        name = self._repositories.of_request(request).name
        return [image for image in self._images.list(name) if _passes(image, request)]

    def _told(self, image: Image, tag: str | None, manifest: str) -> JsonObject:
        return {
            "registryId": self._repositories.registry_id,
            "repositoryName": image.repository,
            "imageId": {"imageDigest": image.digest, "imageTag": tag},
            "imageManifest": manifest,
            "imageManifestMediaType": image.media_type,
        }

    def _detail(self, image: Image) -> JsonObject:
        return {
            "registryId": self._repositories.registry_id,
            "repositoryName": image.repository,
            "imageDigest": image.digest,
            "imageTags": list(image.tags) or None,
            "imageSizeInBytes": self._size(image),
            "imagePushedAt": image.pushed_at,
            "imageManifestMediaType": image.media_type,
            "artifactMediaType": image.document["artifactType"],
            "lastRecordedPullTime": image.document.get("pulledAt"),
            "subjectManifestDigest": image.document["subject"],
            "imageStatus": "ACTIVE",
        }

    def _size(self, image: Image) -> int:
        """A list is as large as its largest image (ImageDetail in botocore's model)."""
        listed = image.document["manifests"]
        if not listed:
            return int(image.document["size"])
        children = (self._images.find(image.repository, digest=each) for each in listed)
        return max((self._size(child) for child in children if child is not None), default=0)


def _passes(image: Image, request: JsonObject) -> bool:
    wanted = request.get("filter", {})
    if wanted.get("imageStatus", "ACTIVE") not in ("ACTIVE", "ANY"):
        return False
    tagged = wanted.get("tagStatus", "ANY")
    return tagged in ("ANY", "TAGGED" if image.tags else "UNTAGGED")
