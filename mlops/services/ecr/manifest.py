"""A manifest as it is pushed: what it is, and what has to be there before it. Pure.

Media types and members: the OCI image specification (manifest.md, image-index.md) and Docker's
"Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops.errors import ServiceError
from mlops.image_uri import DIGEST
from mlops.services.ecr.failures import invalid
from mlops.services.ecr.rules import MOST_LAYER_BYTES, MOST_MANIFEST_BYTES

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_TYPES = (DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX)
_LISTS = (DOCKER_LIST, OCI_INDEX)


@dataclass(frozen=True, slots=True)
class Manifest:
    digest: str
    media_type: str
    layers: Mapping[str, str]
    """Media types by the digests of configuration and layers; without those kept elsewhere."""
    size: int
    """Bytes of configuration and layers together."""
    length: int
    """Bytes of the manifest itself."""
    manifests: Sequence[str]
    """Digests of the images that a list has."""
    artifact_type: str | None
    subject: str | None
    """The digest of the manifest that this one is about."""
    annotations: Mapping[str, str]


def parse_manifest(data: bytes, media_type: str | None) -> Manifest:
    """Read a manifest of one of `MEDIA_TYPES`; `media_type` is what the sender says it is.

    Raises:
        ServiceError: ``InvalidParameterException``.
    """
    document = _document(data)
    kind = _kind(document, media_type)
    is_list = kind in _LISTS
    config = {} if is_list else _descriptor(document.get("config"), "config")
    layers = [] if is_list else _descriptors(document, "layers")
    children = _descriptors(document, "manifests") if is_list else []
    subject = document.get("subject")
    annotations = document.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise _broken("annotations is no object")
    artifact = document.get("artifactType") or config.get("mediaType")
    return Manifest(
        digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
        media_type=kind,
        # A layer with urls is one that may not be distributed: nobody pushes it (Docker's schema).
        layers={
            each["digest"]: str(each.get("mediaType", ""))
            for each in ([] if is_list else [config, *layers])
            if not each.get("urls")
        },
        size=sum(each["size"] for each in ([] if is_list else [config, *layers])),
        length=len(data),
        manifests=tuple(each["digest"] for each in children),
        artifact_type=None if artifact is None else str(artifact),
        subject=_descriptor(subject, "subject")["digest"] if subject else None,
        annotations=annotations,
    )


def _document(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_MANIFEST_BYTES:
        raise _broken(f"it has {len(data):,} bytes, {MOST_MANIFEST_BYTES:,} are allowed")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _broken("it is no JSON") from error
    if not isinstance(document, dict):
        raise _broken("it is no JSON object")
    if document.get("schemaVersion") != 2:
        raise _broken("its schemaVersion is not 2: push it with a client that is not of 2016")
    return document


def _kind(document: Mapping[str, Any], told: str | None) -> str:
    own = document.get("mediaType")
    if told and own and told != own:
        raise _broken(f"its mediaType is {str(own)[:100]}, it was sent as {told[:100]}")
    kind = told or own
    if kind is None:
        raise _broken("it has no mediaType, and none was given with it")
    if kind not in MEDIA_TYPES:
        raise _broken(
            f"its media type is {str(kind)[:100]}; kept here are {', '.join(MEDIA_TYPES)}"
        )
    return str(kind)


def _descriptors(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    values = document.get(name)
    if not isinstance(values, list):
        raise _broken(f"{name} is no list")
    return [_descriptor(value, name) for value in values]


def _descriptor(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _broken(f"{name} is no descriptor")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise _broken(f"{name} has the digest {str(digest)[:100]!r}, which is no sha256")
    if type(size) is not int or not 0 <= size <= MOST_LAYER_BYTES:
        raise _broken(f"{name} has the size {str(size)[:100]!r}")
    return value


def _broken(why: str) -> ServiceError:
    return invalid(
        f"Invalid parameter at 'ImageManifest' failed to satisfy constraint: "
        f"'Invalid image manifest provided: {why}'"
    )
