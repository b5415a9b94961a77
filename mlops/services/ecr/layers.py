"""Layers on their way in: uploads, in order, to a content whose digest is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import BinaryIO
from uuid import uuid4

from mlops.errors import ServiceError, StoreError, UploadInUse
from mlops.ports import Clock
from mlops.services.ecr.contents import Contents, layers_of, uploads_of
from mlops.services.ecr.failures import no_upload
from mlops.services.ecr.repositories import Repositories
from mlops.services.ecr.rules import MIB, MOST_LAYER_BYTES

ABANDONED_AFTER = timedelta(days=1)
"""So long an upload, or a layer that no image has, waits for the rest of its push."""
_SWEEP_EVERY = timedelta(hours=1)


class Layers:
    """Thread-safe. Every method raises ``RepositoryNotFoundException`` for an unknown one."""

    def __init__(self, contents: Contents, repositories: Repositories, clock: Clock) -> None:
        self._contents = contents
        self._state = contents.state
        self._blobs = contents.blobs
        self._repositories = repositories
        self._clock = clock
        self._swept: datetime | None = None

    # --- what is there ---

    def size(self, repository: str, digest: str) -> int | None:
        """The bytes of a layer that a repository has; None where it has none such."""
        self._repositories.get(repository)
        if not self._contents.has_layer(repository, digest):
            return None
        return self._blobs.size(digest)

    def open(self, digest: str) -> BinaryIO:
        return self._blobs.open(digest)

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Give a repository a layer that another one has; whether that one has it."""
        self._repositories.get(repository)
        with self._contents.lock:
            if not self._contents.has_layer(source, digest) or self._blobs.size(digest) is None:
                return False
            self._contents.put(layers_of(repository), digest, self._clock.now(), {})
        return True

    def delete(self, repository: str, digest: str) -> bool:
        """Take a layer from a repository; False where an image of it has it."""
        with self._contents.lock:
            if digest in self._contents.layer_types(repository):
                return False
            self._state.delete_resource(layers_of(repository), digest)
            self._contents.delete_unused([digest])
        return True

    # --- uploads ---

    def begin(self, repository: str) -> str:
        """Start an upload; its id."""
        self._sweep_at_times()
        upload = str(uuid4())
        with self._contents.lock:
            self._repositories.get(repository)
            self._blobs.begin(upload)
            self._contents.put(uploads_of(repository), upload, self._clock.now(), {})
        return upload

    def received(self, repository: str, upload: str) -> int:
        """How many bytes of an upload are here.

        Raises:
            ServiceError: ``UploadNotFoundException``.
        """
        self._repositories.get(repository)
        record = self._state.get_resource(uploads_of(repository), upload)
        size = self._blobs.received(upload) if record else None
        if size is None:
            raise no_upload(upload[:100], repository)
        return size

    def append(self, repository: str, upload: str, pieces: Iterable[bytes]) -> int:
        """Add to an upload; how many bytes it has then.

        Raises:
            ServiceError: ``LimitExceededException``, ``InvalidLayerPartException`` where another
                request is adding to it; what `pieces` raises.
        """
        room = MOST_LAYER_BYTES - self.received(repository, upload)
        with self._told(repository, upload):
            return self._blobs.append(upload, _within(pieces, room))

    def finish(self, repository: str, upload: str, digest: str) -> bool:
        """Make a layer of an upload; whether the repository had it already.

        Raises:
            ServiceError: ``InvalidLayerException``: its digest is another one, and it is gone.
        """
        self.received(repository, upload)
        with self._told(repository, upload):
            found = self._blobs.digest(upload)
        if found != digest:
            self.cancel(repository, upload)
            raise ServiceError(
                "InvalidLayerException",
                f"The digest of the uploaded layer is {found}, not {digest[:100]}",
            )
        with self._contents.lock:
            self.received(repository, upload)  # the repository may have gone meanwhile
            known = self._contents.has_layer(repository, digest)
            with self._told(repository, upload):
                self._blobs.publish(upload, digest)
            with self._state.transaction():
                self._contents.put(layers_of(repository), digest, self._clock.now(), {})
                self._state.delete_resource(uploads_of(repository), upload)
        return known

    def cancel(self, repository: str, upload: str) -> None:
        self.received(repository, upload)
        self._state.delete_resource(uploads_of(repository), upload)
        self._blobs.cancel(upload)

    @contextmanager
    def _told(self, repository: str, upload: str) -> Iterator[None]:
        try:
            yield
        except UploadInUse as error:
            raise ServiceError("InvalidLayerPartException", error.what) from error
        except StoreError:
            self.received(repository, upload)  # cancelled meanwhile: that is what to say
            raise

    # --- leftovers ---

    def _sweep_at_times(self) -> None:
        now = self._clock.now()
        with self._contents.lock:
            if self._swept is not None and now - self._swept < _SWEEP_EVERY:
                return
            self._swept = now
            self.sweep()

    def sweep(self) -> None:
        """Delete what pushes that broke off have left, and contents that nobody has."""
        limit = self._clock.now() - ABANDONED_AFTER
        with self._contents.lock:
            known: set[str] = set()
            for repository in self._contents.repositories():
                self._forget_abandoned(repository, limit)
                known |= {each.name for each in self._state.list_resources(uploads_of(repository))}
            for upload, grown in self._blobs.uploads().items():
                if upload not in known and grown < limit:
                    self._blobs.cancel(upload)
            had = self._contents.digests()
            for digest in self._blobs.digests():
                if digest not in had:
                    self._blobs.delete(digest)

    def _forget_abandoned(self, repository: str, limit: datetime) -> None:
        grown = self._blobs.uploads()
        used = self._contents.layer_types(repository)
        with self._state.transaction():
            for upload in self._state.list_resources(uploads_of(repository)):
                if grown.get(upload.name, upload.created_at) < limit:
                    self._state.delete_resource(upload.kind, upload.name)
            for layer in self._state.list_resources(layers_of(repository)):
                if layer.name not in used and layer.last_modified_at < limit:
                    self._state.delete_resource(layer.kind, layer.name)


def _within(pieces: Iterable[bytes], room: int) -> Iterator[bytes]:
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            raise ServiceError(
                "LimitExceededException",
                f"A layer may have {MOST_LAYER_BYTES // MIB:,} MiB at most",
            )
        yield piece
