"""Ctrl-C and SIGTERM: both interrupt a command, and both can be made to wait for a moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, as SIGINT does: CI and `timeout` send that one.

    A SIGTERM that somebody has chosen to ignore or to handle stays so.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or not _in_main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM wait for the end of the block, and raise KeyboardInterrupt there.

    For calls whose answer must not be lost: an execution whose ARN nobody has heard cannot be
    stopped. Yields the question whether an interrupt waits.
    """
    waiting: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        waiting.append(number)

    # A signal without a handler of Python's is ignored (nohup) or kills: neither is ours to change.
    held = {
        number: handler
        for number in (INTERRUPTS if _in_main_thread() else ())
        if callable(handler := signal.getsignal(number))
    }
    for number in held:
        signal.signal(number, note)
    try:
        yield lambda: bool(waiting)
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if waiting:
        raise KeyboardInterrupt


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
