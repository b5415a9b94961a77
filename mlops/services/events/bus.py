"""The rules, and the threads that deliver what fits them.

Events wait in memory: what a killed gateway had not delivered yet is lost, where the service tries
for a day. A target that fails is tried again, then its dead-letter queue has the event, if it has
one; either way the gateway's log tells it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from mlops.errors import MlopsError
from mlops.ports import Clock, JsonObject, ResourceRecord, StateStore
from mlops.services.events.changes import Change, envelope
from mlops.services.events.inputs import input_for
from mlops.services.events.patterns import Fits, read_pattern
from mlops.settings import Settings

RULE = "event-rule"
ENABLED = "ENABLED"
MOST_RETRIES = 3
"""Of a target here, whatever its RetryPolicy allows: the service's 185 are for outages."""
FIRST_PAUSE_SECONDS = 0.2
_DELIVERERS = 4

Deliver = Callable[[str, str], None]
"""Send a text to what an ARN names.

Raises:
    MlopsError: it is not there, or does not take it.
"""

_logger = logging.getLogger(__name__)


class EventBus:
    """The default event bus. Safe to use from several threads.

    `deliver`: how each kind of target is sent something, by the service in its ARN.
    """

    def __init__(
        self,
        state: StateStore,
        settings: Settings,
        clock: Clock,
        deliver: Callable[[], Mapping[str, Deliver]],
    ) -> None:
        self._state = state
        self._settings = settings
        self._clock = clock
        self._deliver = deliver
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._rules: list[tuple[ResourceRecord, Fits]] | None = None
        self._pool = ThreadPoolExecutor(_DELIVERERS, "events")

    # --- what happens ---

    def wanted(self) -> bool:
        """Whether any rule listens."""
        return bool(self._enabled())

    def tell(self, changes: Sequence[Change]) -> None:
        """Send the events of changes to whom rules say; returns at once."""
        now = self._clock.now()
        settings = self._settings
        self.put(
            [
                envelope(
                    change,
                    event_id=str(uuid4()),
                    account=settings.account_id,
                    region=settings.region,
                    at=now,
                )
                for change in changes
            ]
        )

    def put(self, events: Sequence[JsonObject]) -> None:
        """Send whole events to whom rules say; returns at once."""
        for event in events:
            for rule, fits in self._enabled():
                if fits(event):
                    for target in rule.document["targets"].values():
                        self._submit(rule, target, event)

    def close(self) -> None:
        """Deliver what is being delivered, and nothing more."""
        self._closing.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    # --- rules ---

    def rules(self) -> Sequence[ResourceRecord]:
        return self._state.list_resources(RULE)

    def rule(self, name: str) -> ResourceRecord | None:
        return self._state.get_resource(RULE, name)

    def put_rule(self, rule: ResourceRecord) -> None:
        self._state.put_resource(rule)
        self.forget()

    def delete_rule(self, name: str) -> None:
        self._state.delete_resource(RULE, name)
        self.forget()

    def forget(self) -> None:
        """Read the rules again when they are next asked for."""
        with self._lock:
            self._rules = None

    def _enabled(self) -> list[tuple[ResourceRecord, Fits]]:
        with self._lock:
            if self._rules is None:
                self._rules = [
                    (rule, read_pattern(rule.document["pattern"]))
                    for rule in self._state.list_resources(RULE)
                    if rule.status == ENABLED
                ]
            return self._rules

    # --- delivery ---

    def _submit(self, rule: ResourceRecord, target: JsonObject, event: JsonObject) -> None:
        try:
            self._pool.submit(self._send, rule, target, event)
        except RuntimeError:
            _logger.warning("the gateway leaves: an event for %s is dropped", target["Arn"])

    def _send(self, rule: ResourceRecord, target: JsonObject, event: JsonObject) -> None:
        try:
            self._try(target, input_for(target, event, rule.arn))
        except Exception as error:  # the boundary of the thread: nobody else hears of it
            _logger.warning(
                "rule %s: the event %s does not reach %s: %s",
                rule.name,
                event["detail-type"],
                target["Arn"],
                error,
                exc_info=not isinstance(error, MlopsError),
            )

    def _try(self, target: JsonObject, text: str) -> None:
        wanted = target.get("RetryPolicy", {}).get("MaximumRetryAttempts", MOST_RETRIES)
        pause = FIRST_PAUSE_SECONDS
        for left in range(min(wanted, MOST_RETRIES), -1, -1):
            try:
                self._to(target["Arn"], text)
                return
            except MlopsError:
                if not left or self._closing.wait(pause):
                    self._give_up(target, text)
                    raise
            pause *= 2

    def _give_up(self, target: JsonObject, text: str) -> None:
        queue = target.get("DeadLetterConfig", {}).get("Arn")
        if queue is not None:
            self._to(queue, text)

    def _to(self, arn: str, text: str) -> None:
        self._deliver()[arn.split(":")[2]](arn, text)
