"""The gateway's registry in one piece: both its faces, and what it is to jobs.

It is made when somebody first asks for it: a start does not wait for what it imports (50 ms).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlops.gateway.json_face import JsonFace
from mlops.gateway.wire import Environ, StartResponse, WsgiApp
from mlops.ports import Clock, ImageSource, RegistryImage, StateStore
from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.services.ecr import EcrService, Registry

_TARGET = "AmazonEC2ContainerRegistry_V20150921"


@dataclass(frozen=True, slots=True)
class _Parts:
    registry: Registry
    service: EcrService
    ecr: WsgiApp
    distribution: WsgiApp
    image: ImageSource


class LocalRegistry:
    """ECR and the distribution API over the folder ``registry`` of the store. Thread-safe."""

    def __init__(
        self, state: StateStore, settings: Settings, clock: Clock, url: Callable[[], str]
    ) -> None:
        """`url` is the gateway's own, as the engine of this machine reaches it."""
        self._state = state
        self._settings = settings
        self._clock = clock
        self._url = url
        self._parts: _Parts | None = None
        self._making = threading.Lock()

    def ecr(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI application of what is signed for ``ecr``."""
        return self._made().ecr(environ, start_response)

    def distribution(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """The WSGI application of what container engines ask."""
        return self._made().distribution(environ, start_response)

    def image(self, uri: str) -> RegistryImage | None:
        """As `mlops.ports.ImageSource`."""
        made = self._made()
        made.service.keep_house()
        return made.image(uri)

    def clear(self) -> None:
        """Delete every repository, image and upload."""
        self._made().registry.clear()

    def _made(self) -> _Parts:
        with self._making:
            if self._parts is None:
                self._parts = self._make()
            return self._parts

    def _make(self) -> _Parts:
        from mlops.gateway.registry import RegistryFace
        from mlops.services.ecr import EcrService, Registry, image_source
        from mlops.stores.blobs import FileBlobStore

        folder = self._settings.store / "registry"
        registry = Registry(
            self._state,
            FileBlobStore(folder),
            self._settings,
            self._clock,
            lambda: self._url().partition("//")[2],
            folder / "key",
        )
        service = EcrService(registry)
        return _Parts(
            registry,
            service,
            JsonFace("ecr", _TARGET, service),
            RegistryFace(registry, service.keep_house),
            image_source(registry),
        )
