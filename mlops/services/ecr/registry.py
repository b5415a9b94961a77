"""One registry put together: what the operations and the distribution API both work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlops.ports import BlobStore, Clock, StateStore
from mlops.services.ecr.contents import Contents
from mlops.services.ecr.credentials import Credentials
from mlops.services.ecr.images import Images
from mlops.services.ecr.layers import Layers
from mlops.services.ecr.repositories import Repositories
from mlops.settings import Settings


class Registry:
    """The registry of the settings' account and region."""

    def __init__(
        self,
        state: StateStore,
        blobs: BlobStore,
        settings: Settings,
        clock: Clock,
        address: Callable[[], str],
        key_file: Path,
    ) -> None:
        """`address` is ``host:port`` as the engine of this machine reaches the gateway."""
        self.contents = Contents(state, blobs)
        self.repositories = Repositories(self.contents, settings, clock, address)
        self.images = Images(self.contents, self.repositories, clock)
        self.layers = Layers(self.contents, self.repositories, clock)
        self.credentials = Credentials(key_file, clock)
        self.address = address
        self.settings = settings
        self.now = clock.now

    def clear(self) -> None:
        """Delete every repository, image and upload."""
        with self.contents.lock:
            for record in self.repositories.list():
                self.repositories.delete({"repositoryName": record.name, "force": True})
            self.contents.blobs.clear()
