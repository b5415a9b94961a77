"""Images pushed, fetched and deleted by their manifests, by tag or by digest."""

from __future__ import annotations

import json

from mlops.gateway.registry.failures import RegistryError, unsupported
from mlops.gateway.registry.request import RegistryRequest
from mlops.gateway.s3.answers import Response
from mlops.gateway.s3.bodies import read_all
from mlops.services.ecr import Registry
from mlops.services.ecr.images import ImageFailure
from mlops.services.ecr.manifest import OCI_INDEX
from mlops.services.ecr.rules import MOST_MANIFEST_BYTES


def send(registry: Registry, request: RegistryRequest) -> Response:
    """``GET`` and ``HEAD``. The media type is the one it was pushed with, whatever is accepted."""
    try:
        image = registry.images.get(request.name, request.tag_or_digest())
        manifest = registry.images.manifest(image)
    except ImageFailure as error:
        raise _unknown(error) from error
    if request.method == "GET":
        registry.images.record_pull(image)
    headers = {"Content-Type": image.media_type, "Docker-Content-Digest": image.digest}
    return Response(200, headers, manifest)


def _unknown(error: ImageFailure) -> RegistryError:
    return RegistryError("MANIFEST_UNKNOWN", error.reason, status=404)


def put(registry: Registry, request: RegistryRequest) -> Response:
    """``PUT``: what is there already, under the same tag, counts as pushed."""
    identity = request.tag_or_digest()
    registry.repositories.get(request.name)
    data = read_all(request.body, MOST_MANIFEST_BYTES)
    told = request.headers.get("content-type", "").partition(";")[0].strip()
    image, _ = registry.images.put(
        request.name,
        data,
        media_type=told or None,
        tag=identity.get("imageTag"),
        digest=identity.get("imageDigest"),
    )
    headers = {
        "Location": f"/v2/{request.name}/manifests/{image.digest}",
        "Docker-Content-Digest": image.digest,
    }
    if image.document["subject"]:
        headers["OCI-Subject"] = image.document["subject"]
    return Response(201, headers)


def delete(registry: Registry, request: RegistryRequest) -> Response:
    """``DELETE``: as BatchDeleteImage, an image goes with its last tag."""
    try:
        registry.images.delete(request.name, request.tag_or_digest())
    except ImageFailure as error:
        if error.code == "ImageNotFound":
            raise _unknown(error) from error
        raise unsupported(error.reason) from error
    return Response(202)


def referrers(registry: Registry, request: RegistryRequest) -> Response:
    """The images whose subject is this one, as an index ("Listing Referrers")."""
    digest, wanted = request.digest(), request.query.get("artifactType")
    found = [
        {
            "mediaType": image.media_type,
            "digest": image.digest,
            "size": image.document["manifestSize"],
            "artifactType": image.document["artifactType"],
            "annotations": image.document["annotations"],
        }
        for image in registry.images.list(request.name)
        if image.document["subject"] == digest and wanted in (None, image.document["artifactType"])
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": found}
    headers = {"Content-Type": OCI_INDEX}
    if wanted is not None:
        headers["OCI-Filters-Applied"] = "artifactType"
    return Response(200, headers, json.dumps(index).encode())
