"""One server of a variant: started, waited for, watched, and started again when it dies.

A thread of its own carries each server through its life; `ManagedServer.phase` says where it is.
A server that never answered its first ping has failed for good, and its deployment with it. One
that served and then died is started again, after a pause that doubles.
"""

from __future__ import annotations

import http.client
import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from mlops.errors import ExitStatusLost, MlopsError
from mlops.hosting.artifacts import place_model
from mlops.hosting.plan import VariantPlan
from mlops.hosting.proxy import Connections
from mlops.log_tail import last_lines
from mlops.ports import (
    Clock,
    ContainerRuntime,
    JobOutcome,
    ObjectStore,
    RunningServer,
    ServerSpec,
)

PING_SECONDS = 2.0
"""A container has this long for one answer to ``/ping`` (AWS, "How Your Container Should Respond
to Health Check (Ping) Requests")."""
POLL_SECONDS = 0.05
STOP_GRACE_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
MOST_RESTARTS = 8
"""Deaths in a row after which a server is not started again: some two minutes of trying."""
STEADY_SECONDS = 60.0
"""Having served for so long, a server's next death counts as its first."""
TAIL_LINES_IN_REASON = 5
LONGEST_REASON = 1024
"""botocore sagemaker ``FailureReason``."""

_logger = logging.getLogger(__name__)


class Phase(StrEnum):
    STARTING = "starting"
    SERVING = "serving"
    RESTARTING = "restarting"
    FAILED = "failed"
    """It will not be started again; `problem` says why."""
    ENDED = "ended"
    """It was stopped."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What starting a server takes; the same for every server of a gateway."""

    runtime: ContainerRuntime
    objects: ObjectStore
    clock: Clock
    folder: Path
    """`<store>/endpoints`."""
    environment: Callable[[], Mapping[str, str]]
    """The variables that every server has, as they are now."""
    pause_seconds: float = FIRST_PAUSE_SECONDS


@dataclass(frozen=True, slots=True)
class Place:
    """Which server of which deployment this is."""

    endpoint: str
    variant: VariantPlan
    labels: Mapping[str, str]


class ManagedServer:
    """One server, whatever becomes of it.

    Args:
        changed: is called, without a lock held, after every change of `phase`.
        found: a server that an earlier gateway left running.
        served: whether the variant has served before: then a failure is no verdict on the plan.
    """

    def __init__(
        self,
        workshop: Workshop,
        place: Place,
        changed: Callable[[], None],
        found: RunningServer | None = None,
        *,
        served: bool = False,
    ) -> None:
        self._workshop = workshop
        self._place = place
        self._changed = changed
        self.found = found is not None
        self._running = found
        self._served = served
        self._stop = threading.Event()
        self._detached = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._live, name=f"endpoint {place.endpoint}/{place.variant.name}", daemon=True
        )
        self.phase = Phase.STARTING
        self.problem: str | None = None
        """Why it does not serve, while it does not."""
        self.restarts = 0
        self.connections: Connections | None = None
        """How to reach it, while it serves."""
        self.active = 0
        """Invocations in it now; the fleet counts."""

    # --- from outside ---

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End it; returns at once. See `join`."""
        with self._lock:
            self._stop.set()
            running = self._running
        if running is not None:
            running.stop(STOP_GRACE_SECONDS)

    def detach(self) -> None:
        """Watch it no more, and leave it running: the gateway leaves."""
        self._detached = True
        self._stop.set()

    def join(self, timeout: float) -> None:
        """Wait until nothing of a stopped server is left."""
        self._thread.join(timeout)

    @property
    def address(self) -> str | None:
        return None if self.connections is None else self.connections.address

    # --- its life, in its own thread ---

    def _live(self) -> None:
        try:
            self._go_on_living()
        except MlopsError as error:
            self._become(Phase.FAILED, str(error))
        except Exception as error:  # the boundary of the thread: whoever waits must hear of it
            _logger.exception("a server of endpoint %s failed", self._place.endpoint)
            self._become(Phase.FAILED, f"InternalServerError: {error!r}")
        finally:
            if self._stop.is_set() and not self._detached:
                self._become(Phase.ENDED, None)

    def _go_on_living(self) -> None:
        deaths = 0
        while not self._stop.is_set():
            began = self._workshop.clock.monotonic()
            problem = self._serve_once()
            if self._stop.is_set():
                return
            if self._workshop.clock.monotonic() - began > STEADY_SECONDS:
                deaths = 0
            deaths += 1
            if not self._served or deaths > MOST_RESTARTS:
                self._become(Phase.FAILED, problem)
                return
            pause = min(self._workshop.pause_seconds * 2 ** (deaths - 1), LONGEST_PAUSE_SECONDS)
            self.restarts += 1
            self._become(Phase.RESTARTING, f"{problem}\nIt is started again in {pause:g} s.")
            _logger.warning("endpoint %s: %s", self._place.endpoint, problem)
            self._stop.wait(pause)

    def _serve_once(self) -> str:
        """Start (or take over) a server and see it to its end; why it ended."""
        try:
            running = self._running or self._launch()
        except MlopsError as error:
            return str(error)
        log = self._log_of(running)
        try:
            problem = self._wait_for_ping(running, log)
            if problem is None:
                self.connections = Connections(str(running.address))
                self._served = True
                self._become(Phase.SERVING, None)
                problem = self._wait_for_end(running, log)
            return problem
        finally:
            self._let_go(log.parent)

    def _let_go(self, folder: Path) -> None:
        connections, self.connections = self.connections, None
        with self._lock:
            self._running = None
        if connections is not None:
            connections.close()
        if not self._detached:  # the log stays: it is the evidence
            shutil.rmtree(folder / "ml", ignore_errors=True)

    def _launch(self) -> RunningServer:
        name = f"{self._place.endpoint}-{self._place.variant.name}-{uuid4().hex[:10]}"
        folder = self._workshop.folder / self._place.endpoint / name
        try:
            place_model(self._workshop.objects, self._place.variant.data, folder / "ml/model")
            running = self._workshop.runtime.serve(self._spec(name, folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._running = running
            stopped = self._stop.is_set() and not self._detached
        if stopped:
            running.stop(0)
        return running

    def _spec(self, name: str, folder: Path) -> ServerSpec:
        variant = self._place.variant
        return ServerSpec(
            name=name,
            image=variant.image,
            folder=folder / "ml",
            log=folder / "log.txt",
            environment={**self._workshop.environment(), **variant.environment},
            labels=self._place.labels,
            memory_megabytes=variant.memory_megabytes,
        )

    def _log_of(self, running: RunningServer) -> Path:
        return self._workshop.folder / self._place.endpoint / running.name / "log.txt"

    def _wait_for_ping(self, running: RunningServer, log: Path) -> str | None:
        """Wait for the first 200; why it did not come, or None."""
        now = self._workshop.clock.monotonic
        deadline = now() + self._place.variant.startup_seconds
        said = "nobody listened"
        while not self._stop.is_set():
            outcome, lost = _look(running)
            if outcome is not None or lost is not None:
                return self._died(outcome, lost, log)
            said = ping(str(running.address))
            if said == "200":
                return None
            if now() >= deadline:
                running.stop(0)
                running.wait()
                return self._not_in_time(said, log)
            self._stop.wait(POLL_SECONDS)
        return self._see_it_end(running)

    def _wait_for_end(self, running: RunningServer, log: Path) -> str:
        try:
            outcome, lost = running.wait(), None
        except MlopsError as error:
            outcome, lost = None, error
        return self._died(outcome, lost, log)

    def _see_it_end(self, running: RunningServer) -> str:
        if not self._detached:
            try:
                running.wait()
            except ExitStatusLost:
                return "It has ended."
        return "It was stopped."

    # --- what people hear ---

    def _died(self, outcome: JobOutcome | None, lost: MlopsError | None, log: Path) -> str:
        if lost is not None:
            how = f"it ended and nobody knows how ({lost.what})"
        elif outcome is not None and outcome.out_of_memory:
            limit = self._place.variant.memory_megabytes
            how = "it ran out of memory" + (f" (MemorySizeInMB {limit})" if limit else "")
        else:
            how = f"it ended with exit code {outcome.exit_status if outcome else '?'}"
        return self._told(how, log)

    def _not_in_time(self, said: str, log: Path) -> str:
        seconds = self._place.variant.startup_seconds
        return self._told(
            f"GET /ping was not answered with 200 within {seconds} s "
            f"(ContainerStartupHealthCheckTimeoutInSeconds): {said}",
            log,
        )

    def _told(self, how: str, log: Path) -> str:
        """A reason in the service's own first words, then what happened and the log's end."""
        name = self._place.variant.name
        what = (
            f"The container for production variant {name} stopped serving: {how}."
            if self.phase is Phase.SERVING
            else f"The primary container for production variant {name} did not pass the ping "
            f"health check: {how}."
        )
        tail = "\n".join(last_lines(log, TAIL_LINES_IN_REASON))
        place = f"\nThe whole log: {log}"
        if not tail:
            return what + " Its log is empty."
        room = LONGEST_REASON - len(what) - len(place) - len(" Its log ends:\n") - 60
        return f"{what} Its log ends:\n{tail[-max(room, 100) :]}{place}"

    def _become(self, phase: Phase, problem: str | None) -> None:
        if self._detached:
            return
        self.problem = problem
        self.phase = phase
        self._changed()


def _look(running: RunningServer) -> tuple[JobOutcome | None, MlopsError | None]:
    try:
        return running.poll(), None
    except MlopsError as error:
        return None, error


def ping(address: str) -> str:
    """One ``GET /ping``: the status, or why there is none."""
    connection = http.client.HTTPConnection(address, timeout=PING_SECONDS)
    try:
        connection.request("GET", "/ping", headers={"Connection": "close"})
        response = connection.getresponse()
        response.read()
        return str(response.status)
    except ConnectionRefusedError:
        return "nobody listened"
    except TimeoutError:
        return f"no answer came within {PING_SECONDS:g} s"
    except (OSError, http.client.HTTPException) as error:
        return f"the connection broke ({type(error).__name__})"
    finally:
        connection.close()
