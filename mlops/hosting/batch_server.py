"""A model's server for one batch job: started, waited for, asked, ended. Nobody starts it again.

Unlike an endpoint's servers it has no life beyond its job: it carries the job's labels, by which a
later gateway ends what an earlier one left.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlops.errors import JobError, MlopsError
from mlops.hosting.plan import VariantPlan
from mlops.hosting.proxy import Body, Connections, NoAnswer, NotReached, TooSlow
from mlops.hosting.server import POLL_SECONDS, STOP_GRACE_SECONDS, TAIL_LINES_IN_REASON, ping
from mlops.log_tail import last_lines
from mlops.ports import Clock, JsonObject, ModelAnswer, RunningServer

MOST_ANSWER_BYTES = 1 << 30
_PARAMETERS_SECONDS = 5.0
_MOST_PARAMETERS_BYTES = 64 * 1024


class BatchServer:
    """Implements `mlops.ports.ModelServer`."""

    def __init__(self, running: RunningServer, plan: VariantPlan, log: Path, clock: Clock) -> None:
        self._running = running
        self._plan = plan
        self._log = log
        self._clock = clock
        self._connections = Connections(str(running.address))
        self._stopping = threading.Event()

    def wait_until_ready(self) -> None:
        """As `ModelServer.wait_until_ready`."""
        deadline = self._clock.monotonic() + self._plan.startup_seconds
        while (said := ping(self._connections.address)) != "200":
            if (ended := self._how_it_ended()) is not None:
                raise JobError(self._told(ended))
            if self._clock.monotonic() >= deadline:
                seconds = self._plan.startup_seconds
                raise JobError(
                    self._told(f"GET /ping was not answered with 200 within {seconds} s: {said}")
                )
            self._stopping.wait(POLL_SECONDS)

    def parameters(self) -> JsonObject:
        """As `ModelServer.parameters`."""
        connection = http.client.HTTPConnection(
            self._connections.address, timeout=_PARAMETERS_SECONDS
        )
        try:
            connection.request("GET", "/execution-parameters", headers={"Connection": "close"})
            response = connection.getresponse()
            body = response.read(_MOST_PARAMETERS_BYTES)
        except (OSError, http.client.HTTPException):
            return {}  # it is optional
        finally:
            connection.close()
        try:
            found = json.loads(body) if response.status == 200 else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def invoke(self, body: Body, headers: Mapping[str, str], timeout: float) -> ModelAnswer:
        """As `ModelServer.invoke`."""
        try:
            answer = self._connections.post("/invocations", body, headers, timeout)
            try:
                return ModelAnswer(answer.status, answer.read(MOST_ANSWER_BYTES))
            finally:
                answer.close()
        except TooSlow:
            return ModelAnswer(None, problem=f"no answer came within {timeout:g} s")
        except (NotReached, NoAnswer) as error:
            ended = self._how_it_ended()
            return ModelAnswer(
                None, problem=self._told(ended) if ended else f"the connection broke ({error})"
            )

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """As `ModelServer.stop`."""
        self._stopping.set()
        self._running.stop(grace_seconds)
        with suppress(MlopsError):  # it is gone, which is all that was asked for
            self._running.wait()
        self._connections.close()

    def _how_it_ended(self) -> str | None:
        try:
            outcome = self._running.poll()
        except MlopsError as error:
            return f"it ended and nobody knows how ({error.what})"
        if outcome is None:
            return None
        if outcome.out_of_memory:
            return "it ran out of memory"
        return f"it ended with exit code {outcome.exit_status}"

    def _told(self, how: str) -> str:
        tail = "\n".join(last_lines(self._log, TAIL_LINES_IN_REASON))
        what = f"The server of the model {self._plan.model_name} does not serve: {how}."
        return f"{what} Its log ends:\n{tail}" if tail else f"{what} Its log is empty."
