"""Runs work along a graph, what is independent side by side."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter

WORKERS = 4

_logger = logging.getLogger(__name__)


class Interrupted(Exception):
    """The gateway is leaving: what is not done is taken up by the next one."""


class ResourceFailed(Exception):
    """A resource could not be brought to where it should be; the message says why."""


class Signals:
    """What may end the waiting for a resource."""

    def __init__(self, leaving: threading.Event) -> None:
        self._leaving = leaving
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raises Interrupted or ResourceFailed where there is no use in going on."""
        if self._leaving.is_set():
            raise Interrupted
        if self._cancelled.is_set():
            raise ResourceFailed("Resource creation cancelled")

    def pause(self, seconds: float) -> None:
        """Let some time pass; see `check`."""
        self._leaving.wait(seconds)
        self.check()

    @property
    def leaving(self) -> bool:
        return self._leaving.is_set()


def run_graph(
    after: Mapping[str, Iterable[str]],
    work: Callable[[str], None],
    *,
    failed: Callable[[], None] | None = None,
    workers: int = WORKERS,
) -> dict[str, str]:
    """Do `work` for every name, each behind those that it comes after; the failures by name.

    With `failed`, nothing more is begun after a failure, and `failed` is called at the first one;
    without, only what comes after a failed one is left out.

    Raises:
        Interrupted: once nothing of it runs any more.
        CycleError: the graph has a cycle.
    """
    sorter: TopologicalSorter[str] = TopologicalSorter(after)
    sorter.prepare()
    failures: dict[str, str] = {}
    interrupted = False
    with ThreadPoolExecutor(workers, thread_name_prefix="stack") as pool:
        running: dict[Future[str | None], str] = {}
        while True:
            if not interrupted and (failed is None or not failures):
                running |= {pool.submit(_outcome, work, n): n for n in sorter.get_ready()}
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                name = running.pop(future)
                try:
                    reason = future.result()
                except Interrupted:
                    interrupted = True
                    continue
                if reason is None:
                    sorter.done(name)
                    continue
                if failed is not None and not failures:
                    failed()
                failures[name] = reason
    if interrupted:
        raise Interrupted
    return failures


def _outcome(work: Callable[[str], None], name: str) -> str | None:
    try:
        work(name)
    except ResourceFailed as error:
        return str(error)
    return None
