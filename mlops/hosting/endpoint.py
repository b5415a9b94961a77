"""One endpoint: what it serves, what it is about to serve, and what is recorded of it.

Changes go one after another, each in a thread of its own: a deployment is started beside the one
that serves, takes its place once all of it answers, and is given up where it does not. What the
record says is enough for the next gateway to go on.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import uuid4

from mlops.errors import MlopsError, ServiceError
from mlops.hosting.async_invocation import DEFAULT_CONCURRENCY, AsyncSettings
from mlops.hosting.fleet import (
    DEPLOYMENT_LABEL,
    ENDPOINT_LABEL,
    VARIANT_LABEL,
    Fleet,
    Lease,
    Retired,
)
from mlops.hosting.plan import DeploymentPlan
from mlops.hosting.server import LONGEST_REASON, Workshop
from mlops.ports import JsonObject, ResourceRecord, RunningServer, StateStore

KIND = "endpoint"

_logger = logging.getLogger(__name__)


class EndpointStatus(StrEnum):
    """botocore sagemaker ``EndpointStatus``, as far as it occurs here."""

    OUT_OF_SERVICE = "OutOfService"
    CREATING = "Creating"
    UPDATING = "Updating"
    IN_SERVICE = "InService"
    DELETING = "Deleting"
    FAILED = "Failed"

    @property
    def changing(self) -> bool:
        return self in (self.CREATING, self.UPDATING, self.DELETING)


@dataclass(frozen=True, slots=True)
class Pending:
    """A deployment that is being started beside the one that serves."""

    id: str
    plan: DeploymentPlan
    started_at: datetime


class Endpoint:
    """Safe to use from several threads."""

    def __init__(
        self,
        record: ResourceRecord,
        workshop: Workshop,
        state: StateStore,
        labels: Mapping[str, str],
    ) -> None:
        self._workshop = workshop
        self._state = state
        self._labels = labels
        self._lock = threading.RLock()
        self._moved = threading.Condition(self._lock)
        self._record = record
        self._serving: Fleet | None = None
        self._starting: Fleet | None = None
        self._work: threading.Thread | None = None
        self._closed = False

    # --- looking ---

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def record(self) -> ResourceRecord:
        with self._lock:
            return self._record

    @property
    def status(self) -> EndpointStatus:
        return EndpointStatus(self.record.status)

    @property
    def plan(self) -> DeploymentPlan:
        return DeploymentPlan.read(self.record.document["plan"])

    @property
    def failure_reason(self) -> str | None:
        reason: str | None = self.record.document.get("failure_reason")
        return reason

    @property
    def pending(self) -> Pending | None:
        document = self.record.document.get("pending")
        if document is None:
            return None
        return Pending(
            document["id"],
            DeploymentPlan.read(document["plan"]),
            datetime.fromisoformat(document["started_at"]),
        )

    @property
    def fleet(self) -> Fleet | None:
        """The servers that answer."""
        with self._lock:
            return self._serving

    @property
    def folder(self) -> Path:
        return self._workshop.folder / self.name

    def wait(self, timeout: float | None) -> None:
        """Wait until no change is under way."""
        with self._moved:
            self._moved.wait_for(lambda: self._closed or not self.status.changing, timeout)

    # --- invoking ---

    def take(self, target: str | None) -> Lease:
        """A server for one invocation.

        Raises:
            ServiceError: as InvokeEndpoint answers.
        """
        while True:
            fleet = self._open_fleet()
            with suppress(Retired):
                return fleet.take(target)

    def take_next(self) -> Lease | None:
        """A server for the next asynchronous invocation; None while those in turn are at work.

        Raises:
            ServiceError: none is up, or the endpoint takes no requests.
        """
        while True:
            fleet = self._open_fleet()
            with suppress(Retired):
                return fleet.take_next(self.concurrency)

    def check_open(self) -> None:
        """Raise a ServiceError where the endpoint takes no requests, whoever is to answer them."""
        self._open_fleet()

    @property
    def concurrency(self) -> int:
        """How many asynchronous invocations a server gets at once."""
        settings = self.async_settings
        return DEFAULT_CONCURRENCY if settings is None else settings.concurrency

    @property
    def async_settings(self) -> AsyncSettings | None:
        """How asynchronous invocations are answered; None where the endpoint takes none."""
        config = self.record.document["plan"].get("async_inference")
        return None if config is None else AsyncSettings.read(config)

    def _open_fleet(self) -> Fleet:
        with self._lock:
            fleet, status = self._serving, self.status
        if fleet is None or status in (EndpointStatus.CREATING, EndpointStatus.DELETING):
            raise ServiceError(
                "ValidationError", f"Endpoint {self.name} is {status}: it takes no requests."
            )
        return fleet

    # --- changing ---

    def create(self) -> None:
        """Start the deployment of a record that says Creating."""
        fleet = self._fleet(self._record.document["id"], self.plan)
        with self._lock:
            self._starting = fleet
        self._in_thread(lambda: self._bring_up(fleet, None))

    def _bring_up(self, fleet: Fleet, found: Mapping[str, Sequence[RunningServer]] | None) -> None:
        fleet.start(found)
        problem = fleet.wait_until_up()
        if self._closed:
            return
        if problem is None:
            with self._lock:
                self._serving, self._starting = fleet, None
                self._write(EndpointStatus.IN_SERVICE, failure_reason=None)
            self._serving_changed()
            return
        fleet.kill()
        with self._lock:
            self._starting = None
            self._write(EndpointStatus.FAILED, failure_reason=problem)

    def update(self, plan: DeploymentPlan, deployment_config: JsonObject | None) -> None:
        """Start `plan` beside what serves, and put it in its place.

        Raises:
            ServiceError: ``ValidationException``: a change is under way, or it has failed.
        """
        with self._lock:
            self._check_may_change()
            pending = Pending(_new_id(), plan, self._workshop.clock.now())
            fleet = self._fleet(pending.id, plan)
            self._starting = fleet
            self._write(
                EndpointStatus.UPDATING,
                pending={
                    "id": pending.id,
                    "plan": plan.document(),
                    "started_at": pending.started_at.isoformat(),
                },
                deployment_config=deployment_config,
                failure_reason=None,
            )
        self._in_thread(lambda: self._replace(fleet))

    def _replace(self, fleet: Fleet) -> None:
        fleet.start()
        problem = fleet.wait_until_up()
        if self._closed:
            return
        if problem is not None:
            fleet.kill()
            self._give_up(
                f"The update to {fleet.plan.config_name} failed, "
                f"{self.plan.config_name} serves on: {problem}"
            )
            return
        with self._lock:
            former, self._serving, self._starting = self._serving, fleet, None
            self._write(
                EndpointStatus.UPDATING, id=fleet.id, plan=fleet.plan.document(), pending=None
            )
        if former is not None:
            former.stop()
        if not self._closed:
            self._write(EndpointStatus.IN_SERVICE)
            self._serving_changed()

    def scale(self, plan: DeploymentPlan) -> None:
        """Go by other weights, counts and concurrencies of the same variants.

        Raises:
            ServiceError: ``ValidationException``: a change is under way, or it has failed.
        """
        with self._lock:
            self._check_may_change()
            fleet = self._serving
            if fleet is None:
                raise _invalid(f"Endpoint {self.name} is {self.status}: it has no servers")
            before = self.plan
            self._write(EndpointStatus.UPDATING, failure_reason=None)
        self._in_thread(lambda: self._scale(fleet, before, plan))

    def _scale(self, fleet: Fleet, before: DeploymentPlan, plan: DeploymentPlan) -> None:
        fleet.scale(plan)
        problem = fleet.wait_until_up()
        if self._closed:
            return
        if problem is not None:
            fleet.settle(before)
            self._give_up(f"The change failed, the endpoint is as it was: {problem}")
            return
        fleet.settle(plan)
        self._write(EndpointStatus.IN_SERVICE, plan=plan.document())
        self._serving_changed()

    def _give_up(self, reason: str) -> None:
        with self._lock:
            self._starting = None
            self._write(EndpointStatus.IN_SERVICE, pending=None, failure_reason=reason)
        self._serving_changed()

    def delete(self) -> None:
        """End it; none of its servers runs and nothing of it is recorded when this returns."""
        with self._lock:
            self._write(EndpointStatus.DELETING)
            fleets = [fleet for fleet in (self._serving, self._starting) if fleet is not None]
            work = self._work
        for fleet in fleets:
            fleet.kill()
        if work is not None and work is not threading.current_thread():
            work.join()
        with self._lock:
            last = [each for each in (self._serving, self._starting) if each not in (None, *fleets)]
            self._serving = self._starting = None
        for each in last:
            if each is not None:
                each.kill()
        self._workshop.runtime.remove_leftovers({**self._labels, ENDPOINT_LABEL: self.name})
        shutil.rmtree(self.folder, ignore_errors=True)
        with self._moved:
            self._closed = True
            self._state.delete_resource(KIND, self.name)
            self._moved.notify_all()

    # --- the gateway's own life ---

    def recover(self, found: Sequence[RunningServer]) -> None:
        """Go on from the record; `found` are the servers of it that a former gateway left."""
        document = self._record.document
        current, others = _by_variant(found, document["id"])
        for server in others:
            server.stop(0)  # of an update that was under way
        status = self.status
        if status is EndpointStatus.FAILED:
            for server in found:
                server.stop(0)
            return
        if status is EndpointStatus.DELETING:
            self._in_thread(self.delete)
            return
        fleet = self._fleet(document["id"], self.plan)
        if status is EndpointStatus.CREATING:
            with self._lock:
                self._starting = fleet
            self._in_thread(lambda: self._bring_up(fleet, current))
            return
        self._resume(fleet, current)

    def _resume(self, fleet: Fleet, found: Mapping[str, Sequence[RunningServer]]) -> None:
        with self._lock:
            self._serving = fleet
            if self._record.document.get("pending") is not None:
                self._write(
                    EndpointStatus.OUT_OF_SERVICE,
                    pending=None,
                    failure_reason="The update was broken off: the gateway ended meanwhile.",
                )
            else:
                self._write(EndpointStatus.OUT_OF_SERVICE, failure_reason=self._kept_reason())
        fleet.start(found, served=True)

    def detach(self) -> None:
        """Leave the servers running and watch them no more."""
        with self._lock:
            self._closed = True
            fleets = [fleet for fleet in (self._serving, self._starting) if fleet is not None]
        for fleet in fleets:
            fleet.detach()

    def end(self) -> None:
        """End the servers and record nothing: there is nothing to record it in."""
        with self._lock:
            self._closed = True
            fleets = [fleet for fleet in (self._serving, self._starting) if fleet is not None]
        for fleet in fleets:
            fleet.kill()

    # --- inside ---

    def _fleet(self, id: str, plan: DeploymentPlan) -> Fleet:  # noqa: A002 - what it is
        return Fleet(self._workshop, self.name, id, plan, self._serving_changed, self._labels)

    def _check_may_change(self) -> None:
        status = self.status
        if status.changing:
            # Terraform's provider and others look for these words of the service.
            raise _invalid(f'Cannot update in-progress endpoint "{self._record.arn}".')
        if status is EndpointStatus.FAILED:
            raise _invalid(
                f'Cannot update failed endpoint "{self._record.arn}": delete it and create it anew.'
            )

    def _in_thread(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Exception as error:  # the boundary of the thread: the record has to say it
                _logger.exception("a change of endpoint %s failed", self.name)
                self._fail(error)

        thread = threading.Thread(target=run, name=f"endpoint {self.name}", daemon=True)
        with self._lock:
            self._work = thread
        thread.start()

    def _fail(self, error: Exception) -> None:
        reason = str(error) if isinstance(error, MlopsError) else f"InternalServerError: {error!r}"
        with self._lock:
            fleet, self._starting = self._starting, None
        if fleet is not None:
            fleet.kill()
        if self._closed:
            return
        status = EndpointStatus.FAILED if self._serving is None else EndpointStatus.IN_SERVICE
        self._write(status, pending=None, failure_reason=reason)

    def _serving_changed(self) -> None:
        """Say in the record whether anything serves; while nothing else changes the status."""
        with self._lock:
            fleet, status = self._serving, self.status
            resting = (EndpointStatus.IN_SERVICE, EndpointStatus.OUT_OF_SERVICE)
            if self._closed or fleet is None or status not in resting:
                return
            up = fleet.serving_count() > 0
            now = EndpointStatus.IN_SERVICE if up else EndpointStatus.OUT_OF_SERVICE
            problems = fleet.problems()
            if up and status is EndpointStatus.OUT_OF_SERVICE:
                self._write(now, failure_reason=self._kept_reason())
            elif not up and (status is not now or problems):
                self._write(now, failure_reason=problems[0] if problems else None, death=True)

    def _kept_reason(self) -> str | None:
        """The reason that stays when servers are up again: not that they were down."""
        return None if self._record.document.get("death") else self.failure_reason

    def _write(self, status: EndpointStatus, **changes: object) -> None:
        with self._moved:
            deleting = self._record.status == EndpointStatus.DELETING
            if self._closed or (deleting and status is not EndpointStatus.DELETING):
                return
            document = {**self._record.document, "death": False, **changes}
            reason = document.get("failure_reason")
            if isinstance(reason, str) and len(reason) > LONGEST_REASON:
                document["failure_reason"] = reason[: LONGEST_REASON - 1] + "…"
            self._record = replace(
                self._record,
                status=str(status),
                last_modified_at=self._workshop.clock.now(),
                document=document,
            )
            try:
                self._state.put_resource(self._record)
            except MlopsError:
                # A full disk, mostly. What is in memory is true; the next change is written again.
                _logger.exception("the state of endpoint %s is not recorded", self.name)
            self._moved.notify_all()


def _by_variant(
    found: Sequence[RunningServer], deployment: str
) -> tuple[dict[str, list[RunningServer]], list[RunningServer]]:
    """The servers of a deployment by variant, and the other ones."""
    current: dict[str, list[RunningServer]] = {}
    others = []
    for server in found:
        if server.labels.get(DEPLOYMENT_LABEL) == deployment:
            current.setdefault(server.labels[VARIANT_LABEL], []).append(server)
        else:
            others.append(server)
    return current, others


def new_document(plan: DeploymentPlan, runtime: str, deployment_config: object) -> JsonObject:
    """What is recorded of an endpoint that is to be created."""
    return {
        "id": _new_id(),
        "plan": plan.document(),
        "pending": None,
        "failure_reason": None,
        "deployment_config": deployment_config,
        "runtime": runtime,
    }


def _new_id() -> str:
    return uuid4().hex[:12]


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
