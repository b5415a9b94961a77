"""One execution environment of a function: its runtime, in a container or as a process.

Started for an invocation that finds no idle one, and kept for the next (warm reuse). It handles one
invocation at a time. What the function writes goes into the log that its runtime (docker, process)
copies; the lines of Lambda's own are put between.
"""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mlops.errors import ExitStatusLost, MlopsError
from mlops.functions import log_lines
from mlops.functions.exchange import Answer, Exchange, Invocation, Phase
from mlops.functions.http import EventLoop
from mlops.functions.log_lines import Report
from mlops.functions.plan import WorkerPlan
from mlops.functions.runtime_api import RuntimeApi
from mlops.log_tail import last_lines
from mlops.ports import ContainerRuntime, JobOutcome, RunningServer

INIT_SECONDS = 10.0
"""What a start may take before it is begun anew within the invocation's own time-out (AWS's
documentation, "Lambda execution environment lifecycle")."""

_NOT_EXECUTED = (126, 127)  # how a container's init and shells say that a program is not to be run
_LAST_WORDS_SECONDS = 1.0
_SETTLE_SECONDS = 0.05
_QUIET_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Finished:
    """How an invocation ended. `error_type` is None where the handler answered."""

    payload: bytes
    error_type: str | None
    log_tail: bytes
    reusable: bool


class Worker:
    """A started environment. Whatever ends its process, nothing of it stays but its log."""

    def __init__(
        self,
        plan: WorkerPlan,
        runtime: ContainerRuntime,
        loop: EventLoop,
        bind_host: str,
    ) -> None:
        """Start it; its Runtime API listens on `bind_host`.

        Raises:
            MlopsError: as `ContainerRuntime.serve`.
        """
        self._plan = plan
        self._exchange = Exchange()
        self._outcome: JobOutcome | None = None
        self._api = RuntimeApi(loop, self._exchange, bind_host, runtime.gateway_host)
        self._served = 0
        self.idle_since = time.monotonic()
        plan.spec.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            environment = {
                **plan.spec.environment,
                "AWS_LAMBDA_RUNTIME_API": self._api.address,
            }
            self._server: RunningServer = runtime.serve(replace(plan.spec, environment=environment))
        except BaseException:
            self._api.close()
            raise
        self._started = time.monotonic()
        self._watcher = threading.Thread(
            target=self._watch, name=f"function {plan.spec.name}", daemon=True
        )
        self._watcher.start()

    @property
    def log(self) -> Path:
        return self._plan.spec.log

    @property
    def ended(self) -> bool:
        return self._exchange.phase is Phase.ENDED

    def _watch(self) -> None:
        try:
            self._outcome = self._server.wait()
        except ExitStatusLost:
            pass  # it has ended, and nobody knows how: told as an exit without a reason
        except MlopsError as error:
            self.write_log(f"{error}\n")
        finally:
            self._exchange.end()
            self._api.close()
            shutil.rmtree(self._plan.spec.folder, ignore_errors=True)

    def stop(self) -> None:
        """End it now; nothing of it is left when this returns."""
        self._server.stop(0.0)
        if threading.current_thread() is not self._watcher:
            self._watcher.join()

    def write_log(self, text: str) -> None:
        with self.log.open("ab") as log:
            log.write(text.encode())

    # --- invocations ---

    def wait_until_started(self) -> bool:
        """Wait for the runtime to have loaded the function; False after INIT_SECONDS of nothing."""
        left = self._started + INIT_SECONDS - time.monotonic()
        return self._exchange.wait_until_started(left) is not Phase.STARTED

    def log_init_timeout(self) -> None:
        self.write_log(log_lines.init_report_line(self._age_ms(), "init", "timeout"))

    def invoke(self, invocation: Invocation, *, with_tail: bool) -> Finished | None:
        """Run one invocation to its end; None where the runtime died before it heard of it.

        The time-out counts from here, a start that is not finished included.
        """
        first = self._served == 0
        self._served += 1
        log_from = 0 if first else self._log_size()
        # A start that goes on within the invocation is a part of its duration.
        started = self._exchange.phase is not Phase.STARTED
        init_ms = self._age_ms() if first and started else None
        began = time.monotonic()
        until = began + self._plan.timeout_seconds
        if self._exchange.wait_until_started(until - began) is Phase.INIT_FAILED or (
            first and self.ended
        ):
            return self._init_failed(invocation, began, log_from, with_tail)
        self.write_log(log_lines.start_line(invocation.request_id))
        self._exchange.begin(invocation)
        answer = self._exchange.wait_for_answer(until)
        took_ms = (time.monotonic() - began) * 1000
        if answer is None and self.ended and not first and not self._exchange.was_taken:
            return None
        return self._finish(invocation, answer, took_ms, init_ms, log_from, with_tail)

    def _finish(
        self,
        invocation: Invocation,
        answer: Answer | None,
        took_ms: float,
        init_ms: float | None,
        log_from: int,
        with_tail: bool,
    ) -> Finished:
        report = Report(
            invocation.request_id,
            took_ms,
            self._plan.memory_megabytes,
            self._server.peak_megabytes(),
            init_ms,
        )
        if answer is not None:
            if with_tail:
                self._settle()
            self.write_log(log_lines.end_lines(report))
            self.idle_since = time.monotonic()
            tail = self._tail(log_from) if with_tail else b""
            return Finished(answer.payload, answer.error_type, tail, reusable=True)
        if self.ended:
            return self._exited(invocation, report, log_from)
        return self._timed_out(invocation, report, log_from)

    def _timed_out(self, invocation: Invocation, report: Report, log_from: int) -> Finished:
        self.stop()
        seconds = float(self._plan.timeout_seconds)
        request_id = invocation.request_id
        self.write_log(log_lines.timeout_line(request_id, seconds, datetime.now(UTC)))
        report = replace(report, duration_ms=seconds * 1000, status="timeout")
        self.write_log(log_lines.end_lines(report))
        message = log_lines.timeout_message(request_id, seconds)
        payload = log_lines.error_payload(log_lines.TIMED_OUT, message)
        return Finished(payload, log_lines.TIMED_OUT, self._tail(log_from), reusable=False)

    def _exited(self, invocation: Invocation, report: Report, log_from: int) -> Finished:
        self._watcher.join()
        kind = self._exit_type()
        message = log_lines.exit_message(invocation.request_id, self._outcome)
        self.write_log(log_lines.exit_lines(message, kind))
        self.write_log(log_lines.end_lines(replace(report, status="error", error_type=kind)))
        payload = log_lines.error_payload(kind, message)
        return Finished(payload, kind, self._tail(log_from), reusable=False)

    def _init_failed(
        self, invocation: Invocation, began: float, log_from: int, with_tail: bool
    ) -> Finished:
        """The function could not be loaded: by what its runtime said, else by how it ended."""
        failure = self._exchange.init_failure
        init_ms = self._age_ms()
        self._watcher.join(_LAST_WORDS_SECONDS)  # a runtime ends by itself after such a failure
        self.stop()
        kind = failure.error_type if failure and failure.error_type else self._start_type()
        message = self._start_message(invocation.request_id, kind)
        self.write_log(log_lines.init_report_line(init_ms, "invoke", "error", kind))
        self.write_log(log_lines.start_line(invocation.request_id))
        if failure is None:
            self.write_log(log_lines.exit_lines(message, kind))
        payload = failure.payload if failure else log_lines.error_payload(kind, message)
        took_ms = (time.monotonic() - began) * 1000
        report = Report(
            invocation.request_id,
            took_ms,
            self._plan.memory_megabytes,
            None,
            status="error",
            error_type=kind,
        )
        self.write_log(log_lines.end_lines(report))
        tail = self._tail(log_from) if with_tail else b""
        return Finished(payload, kind, tail, reusable=False)

    def _start_type(self) -> str:
        if self._outcome is not None and self._outcome.exit_status in _NOT_EXECUTED:
            return log_lines.NOT_STARTED
        return self._exit_type()

    def _start_message(self, request_id: str, kind: str) -> str:
        said = last_lines(self.log, 1) if kind == log_lines.NOT_STARTED else []
        if said:
            return f"RequestId: {request_id} Error: {said[0]}"
        return log_lines.exit_message(request_id, self._outcome)

    def _exit_type(self) -> str:
        killed_for_memory = self._outcome is not None and self._outcome.out_of_memory
        return log_lines.OUT_OF_MEMORY if killed_for_memory else log_lines.EXITED

    def _age_ms(self) -> float:
        return (time.monotonic() - self._started) * 1000

    # --- the log ---

    def _log_size(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _settle(self) -> None:
        """Wait for what the function has said last: an engine brings it a moment later."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        size = self._log_size()
        while time.monotonic() < deadline:
            time.sleep(_QUIET_SECONDS)
            before, size = size, self._log_size()
            if size == before:
                return

    def _tail(self, log_from: int) -> bytes:
        with self.log.open("rb") as log:
            log.seek(max(log_from, self._log_size() - log_lines.TAIL_BYTES))
            return log.read(log_lines.TAIL_BYTES)
