"""Which repository has which content, and the end of contents that none has.

Repositories of a registry share contents. A repository has one by a record: an image's own, for
its manifest, or one of a layer, from the end of its upload to the deletion of the last image with
it. A file without any record goes. Records are made and files deleted under one lock, so that no
content goes while somebody else is just getting it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from datetime import datetime

from mlops.ports import BlobStore, JsonObject, ResourceRecord, StateStore

REPOSITORY = "ecr-repository"


def images_of(repository: str) -> str:
    """The kind of a repository's images in the state store; each is named by its digest."""
    return f"ecr-image/{repository}"


def tags_of(repository: str) -> str:
    return f"ecr-tag/{repository}"


def layers_of(repository: str) -> str:
    return f"ecr-layer/{repository}"


def uploads_of(repository: str) -> str:
    return f"ecr-upload/{repository}"


class Contents:
    """What repositories have. Hold `lock` from a decision to the record that it comes to."""

    def __init__(self, state: StateStore, blobs: BlobStore) -> None:
        self.state = state
        self.blobs = blobs
        self.lock = threading.RLock()

    def put(self, kind: str, name: str, at: datetime, document: JsonObject) -> ResourceRecord:
        """Keep a record; one that is there keeps the moment of its making."""
        present = self.state.get_resource(kind, name)
        record = ResourceRecord(
            kind=kind,
            name=name,
            arn="",
            created_at=present.created_at if present else at,
            last_modified_at=at,
            status="",
            document=document,
        )
        self.state.put_resource(record)
        return record

    def has_layer(self, repository: str, digest: str) -> bool:
        return self.state.get_resource(layers_of(repository), digest) is not None

    def repositories(self) -> Sequence[str]:
        return [record.name for record in self.state.list_resources(REPOSITORY)]

    def layer_types(self, repository: str) -> dict[str, str]:
        """The layers that images of a repository have, and their media types."""
        types: dict[str, str] = {}
        for image in self.state.list_resources(images_of(repository)):
            types |= image.document["layers"]
        return types

    def release_layers(self, repository: str, digests: Iterable[str]) -> None:
        """Forget those of a repository's layers that no image of it has any more."""
        used = self.layer_types(repository)
        for digest in digests:
            if digest not in used:
                self.state.delete_resource(layers_of(repository), digest)

    def delete_unused(self, digests: Iterable[str]) -> None:
        """Delete the contents among these that no repository has."""
        names = self.repositories()
        for digest in digests:
            if not any(self._has(name, digest) for name in names):
                self.blobs.delete(digest)

    def digests(self) -> set[str]:
        """Every content that some repository has."""
        return {
            record.name
            for name in self.repositories()
            for kind in (layers_of(name), images_of(name))
            for record in self.state.list_resources(kind)
        }

    def _has(self, repository: str, digest: str) -> bool:
        return any(
            self.state.get_resource(kind, digest) is not None
            for kind in (layers_of(repository), images_of(repository))
        )
