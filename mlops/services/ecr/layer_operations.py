"""Layers by ECR's own operations, which its proxy uses and some tools do.

The size of parts: "Amazon ECR service quotas" in the user guide.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import urlencode

from mlops.errors import ServiceError
from mlops.image_uri import DIGEST
from mlops.ports import JsonObject
from mlops.services.ecr.contents import Contents, uploads_of
from mlops.services.ecr.failures import invalid, no_upload
from mlops.services.ecr.registry import Registry
from mlops.services.ecr.rules import FEWEST_PART_BYTES, MOST_PART_BYTES, MOST_PARTS
from mlops.services.operation import Handler

LAYER_KEY = "key"
"""The query parameter of a download address."""


class LayerOperations:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._repositories = registry.repositories
        self._layers = registry.layers
        self._contents: Contents = registry.contents

    @property
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "BatchCheckLayerAvailability": self._check,
            "InitiateLayerUpload": self._begin,
            "UploadLayerPart": self._upload,
            "CompleteLayerUpload": self._complete,
            "GetDownloadUrlForLayer": self._download_url,
        }

    def _check(self, request: JsonObject) -> JsonObject:
        name = self._repositories.of_request(request).name
        layers: list[JsonObject] = []
        failures: list[JsonObject] = []
        for digest in request["layerDigests"]:
            if DIGEST.fullmatch(digest):
                layers.append(self._availability(name, digest))
                continue
            code = "InvalidLayerDigest" if digest else "MissingLayerDigest"
            reason = "Invalid parameter at 'layerDigest': it is no sha256 digest"
            failures.append({"layerDigest": digest, "failureCode": code, "failureReason": reason})
        return {"layers": layers, "failures": failures}

    def _availability(self, name: str, digest: str) -> JsonObject:
        size = self._layers.size(name, digest)
        return {
            "layerDigest": digest,
            "layerAvailability": "UNAVAILABLE" if size is None else "AVAILABLE",
            "layerSize": size,
            "mediaType": self._contents.layer_types(name).get(digest),
        }

    def _begin(self, request: JsonObject) -> JsonObject:
        name = self._repositories.of_request(request).name
        return {"uploadId": self._layers.begin(name), "partSize": MOST_PART_BYTES}

    def _upload(self, request: JsonObject) -> JsonObject:
        name, upload = self._repositories.of_request(request).name, request["uploadId"]
        part = _decoded(request["layerPartBlob"])
        received = self._layers.received(name, upload)
        first, last = request["partFirstByte"], request["partLastByte"]
        if first != received or last - first + 1 != len(part) or len(part) > MOST_PART_BYTES:
            raise ServiceError(
                "InvalidLayerPartException",
                f"The part is said to have bytes {first} to {last} and has {len(part)}: it has to "
                f"begin at {received}, and may have {MOST_PART_BYTES} at most",
            )
        sizes = self._parts(name, upload)
        if len(sizes) >= MOST_PARTS:
            raise ServiceError(
                "LimitExceededException", f"A layer may have {MOST_PARTS:,} parts at most"
            )
        size = self._layers.append(name, upload, [part])
        self._contents.put(
            uploads_of(name), upload, self._registry.now(), {"parts": [*sizes, len(part)]}
        )
        return self._told(name, uploadId=upload, lastByteReceived=size - 1)

    def _complete(self, request: JsonObject) -> JsonObject:
        name, upload = self._repositories.of_request(request).name, request["uploadId"]
        digests = set(request["layerDigests"])
        if len(digests) > 1:
            raise invalid("Give one layer digest: all here are of the same layer")
        if not self._layers.received(name, upload):
            raise ServiceError("EmptyUploadException", f"The upload '{upload}' has no parts")
        if any(size < FEWEST_PART_BYTES for size in self._parts(name, upload)[:-1]):
            raise ServiceError(
                "LayerPartTooSmallException",
                f"Parts but the last have to have {FEWEST_PART_BYTES} bytes at least",
            )
        (digest,) = digests
        if self._layers.finish(name, upload, digest):
            raise ServiceError(
                "LayerAlreadyExistsException",
                f"The layer with digest '{digest}' already exists in the repository with name "
                f"'{name}'",
            )
        return self._told(name, uploadId=upload, layerDigest=digest)

    def _download_url(self, request: JsonObject) -> JsonObject:
        name, digest = self._repositories.of_request(request).name, request["layerDigest"]
        if not DIGEST.fullmatch(digest) or self._layers.size(name, digest) is None:
            raise ServiceError(
                "LayersNotFoundException",
                f"The layer {digest[:100]} does not exist in the repository with name '{name}'",
            )
        if digest not in self._contents.layer_types(name):
            raise ServiceError(
                "LayerInaccessibleException", f"No image has the layer {digest}: push its manifest"
            )
        query = urlencode({LAYER_KEY: self._registry.credentials.layer_key(name, digest)})
        url = f"http://{self._registry.address()}/v2/{name}/blobs/{digest}?{query}"
        return {"downloadUrl": url, "layerDigest": digest}

    def _parts(self, name: str, upload: str) -> list[int]:
        record = self._contents.state.get_resource(uploads_of(name), upload)
        if record is None:
            raise no_upload(upload, name)
        return list(record.document.get("parts", []))

    def _told(self, name: str, **members: object) -> JsonObject:
        return {
            "registryId": self._repositories.registry_id,
            "repositoryName": name,
            **members,
        }


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Invalid parameter at 'layerPartBlob': it is no base64") from error
