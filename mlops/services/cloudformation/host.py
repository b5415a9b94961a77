"""Every stack of a state folder: what the gateway holds of this package.

It is light until the first request: what reads templates and knows types is imported then.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlops.ports import Clock, JsonObject, StateStore
from mlops.services.cloudformation.kinds import STACK
from mlops.settings import Settings

if TYPE_CHECKING:
    from mlops.services.cloudformation.operation import StackOperation
    from mlops.services.cloudformation.planning import Identity
    from mlops.services.cloudformation.records import Stack, StackBook
    from mlops.services.cloudformation.service import CloudFormationService
    from mlops.services.cloudformation.types.base import Aws

NAMESPACE = "http://cloudformation.amazonaws.com/doc/2010-05-15/"
CLOSE_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class StackHost:
    """Answers requests, and takes stacks on until they rest. Thread-safe."""

    def __init__(
        self,
        state: StateStore,
        settings: Settings,
        clock: Clock,
        url: Callable[[], str],
        leaving: threading.Event,
        *,
        aws: Aws | None = None,
    ) -> None:
        """`url` is the gateway's own; once `leaving` is set, stacks are left to the next gateway.
        `aws` is asked instead of the gateway at `url` (tests hand in a world of their own).
        """
        self.lock = threading.RLock()
        self.settings = settings
        self.url = url
        self._state = state
        self._clock = clock
        self._book: StackBook | None = None
        self._leaving = leaving
        self._aws = aws
        self._service: CloudFormationService | None = None
        self._running: dict[str, tuple[StackOperation, threading.Thread]] = {}

    @property
    def book(self) -> StackBook:
        from mlops.services.cloudformation.records import StackBook

        with self.lock:
            if self._book is None:
                self._book = StackBook(self._state, self._clock)
            return self._book

    # --- the life of the gateway ---

    def up(self) -> int:
        """How many stacks are on their way: while one is, an idle gateway stays."""
        with self.lock:
            return len(self._running)

    def recover(self) -> None:
        """Take the stacks up that an earlier gateway has left on their way."""
        for record in self._state.list_resources(STACK):
            stack = self.book.stack(record.name) if "_IN_PROGRESS" in record.status else None
            if stack is not None and stack.in_progress:
                _logger.info("taking up the stack %s: %s", stack.name, stack.status)
                self.begin(stack.id)

    def close(self) -> None:
        """Wait until nothing of a stack is being done; `leaving` has to be set."""
        self._join(CLOSE_SECONDS)

    def clear(self) -> None:
        """Leave what is on its way, for a state folder that is being emptied."""
        with self.lock:
            for stack in self.book.stacks():
                self.book.forget(stack)
            for operation, _ in self._running.values():
                operation.cancel()
        self._join(CLOSE_SECONDS)

    def _join(self, seconds: float) -> None:
        with self.lock:
            threads = [thread for _, thread in self._running.values()]
        for thread in threads:
            thread.join(seconds)

    # --- requests ---

    def handle(self, operation: str, form: JsonObject) -> JsonObject:
        """Answer one operation; see `CloudFormationService.handle`."""
        return self._answering().handle(operation, form)

    def _answering(self) -> CloudFormationService:
        from mlops.services.cloudformation.service import CloudFormationService

        with self.lock:
            if self._service is None:
                self._service = CloudFormationService(self)
            return self._service

    # --- operations ---

    @property
    def aws(self) -> Aws:
        from mlops.services.cloudformation.door import GatewayDoor

        with self.lock:
            if self._aws is None:
                self._aws = GatewayDoor(self.url, self.settings.region)
            return self._aws

    def identity(self, stack: Stack) -> Identity:
        from mlops.services.cloudformation.planning import Identity

        return Identity(stack.id, stack.name, self.settings.region, self.settings.account_id)

    def begin(self, stack_id: str) -> None:
        """See that somebody takes the stack on from its status."""
        from mlops.services.cloudformation.operation import StackOperation

        with self.lock:
            if stack_id in self._running:
                return  # who is at it looks at the status again before leaving
            operation = StackOperation(
                self.book, self.aws, stack_id, self._leaving, self.identity, self.lock
            )
            thread = threading.Thread(
                target=self._run, args=(stack_id, operation), name="stack", daemon=True
            )
            self._running[stack_id] = (operation, thread)
            thread.start()

    def cancel(self, stack_id: str) -> None:
        """End the step that a stack is in, for another one; the stack's status says which."""
        with self.lock:
            running = self._running.get(stack_id)
            if running is not None:
                running[0].cancel()

    def _run(self, stack_id: str, operation: StackOperation) -> None:
        while True:
            try:
                operation.run()
            except Exception:  # the state store refuses: nothing can be written down either
                _logger.exception("the stack %s is left as it is", stack_id)
                break
            with self.lock:
                stack = self.book.stack(stack_id) if not self._leaving.is_set() else None
                if stack is None or not stack.in_progress:
                    self._running.pop(stack_id, None)
                    return
        with self.lock:
            self._running.pop(stack_id, None)

    def wait(self, stack_id: str, seconds: float) -> bool:
        """Wait until nothing is being done with a stack; whether that is so."""
        with self.lock:
            running = self._running.get(stack_id)
        if running is not None:
            running[1].join(seconds)
        return running is None or not running[1].is_alive()
