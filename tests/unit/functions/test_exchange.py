"""The talk between a function's runtime and its host: what may follow what."""

from __future__ import annotations

import threading
import time

import pytest

from mlops.functions.exchange import (
    MAXIMUM_RESPONSE,
    AnswerTooLarge,
    Exchange,
    Invocation,
    Phase,
    UnknownInvocation,
    WrongMove,
)


def invocation(request_id: str = "r1") -> Invocation:
    return Invocation(request_id, b"{}", "arn", 1, "Root=1")


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def running(exchange: Exchange) -> list[Invocation]:
    """Bring it to where the runtime has an invocation; what it was handed."""
    handed: list[Invocation] = []
    exchange.ask_next(handed.append)
    exchange.begin(invocation())
    return handed


def test_a_runtime_that_waits_gets_the_invocation(exchange: Exchange) -> None:
    assert [each.request_id for each in running(exchange)] == ["r1"]
    assert exchange.phase is Phase.RUNNING
    assert exchange.was_taken


def test_an_invocation_waits_for_the_runtime(exchange: Exchange) -> None:
    exchange.begin(invocation())
    assert not exchange.was_taken
    handed: list[Invocation] = []
    exchange.ask_next(handed.append)
    assert len(handed) == 1
    assert exchange.was_taken


def test_an_answer_ends_the_wait(exchange: Exchange) -> None:
    running(exchange)
    threading.Timer(0.02, lambda: exchange.respond("r1", b"42")).start()
    answer = exchange.wait_for_answer(soon())
    assert answer is not None
    assert (answer.payload, answer.error_type) == (b"42", None)
    assert exchange.phase is Phase.ANSWERED


def test_an_error_is_an_answer_with_its_type(exchange: Exchange) -> None:
    running(exchange)
    exchange.fail("r1", b"{}", "ValueError")
    answer = exchange.wait_for_answer(soon())
    assert answer is not None
    assert answer.error_type == "ValueError"


def test_no_answer_in_time(exchange: Exchange) -> None:
    running(exchange)
    assert exchange.wait_for_answer(soon(0.01)) is None
    assert exchange.phase is Phase.RUNNING


def test_the_end_of_the_process_ends_every_wait(exchange: Exchange) -> None:
    threading.Timer(0.02, exchange.end).start()
    assert exchange.wait_until_started(5.0) is Phase.ENDED
    exchange.begin(invocation())
    assert exchange.wait_for_answer(soon()) is None
    assert not exchange.was_taken


def test_one_invocation_after_another(exchange: Exchange) -> None:
    running(exchange)
    exchange.respond("r1", b"1")
    handed: list[Invocation] = []
    exchange.ask_next(handed.append)
    exchange.begin(invocation("r2"))
    assert exchange.wait_for_answer(soon(0.01)) is None  # the first answer is not the second's
    exchange.respond("r2", b"2")
    answer = exchange.wait_for_answer(soon())
    assert answer is not None
    assert answer.payload == b"2"


def test_a_failed_start_is_kept_after_the_end(exchange: Exchange) -> None:
    exchange.fail_init(b'{"errorType": "X"}', "Runtime.ImportModuleError")
    exchange.end()
    assert exchange.init_failure is not None
    assert exchange.init_failure.error_type == "Runtime.ImportModuleError"


def test_an_answer_to_another_invocation(exchange: Exchange) -> None:
    running(exchange)
    with pytest.raises(UnknownInvocation, match="Invalid request ID"):
        exchange.respond("other", b"")
    with pytest.raises(UnknownInvocation):
        exchange.fail("other", b"", "X")
    assert exchange.phase is Phase.RUNNING


def test_a_second_answer(exchange: Exchange) -> None:
    running(exchange)
    exchange.respond("r1", b"")
    with pytest.raises(UnknownInvocation):
        exchange.respond("r1", b"")


def test_asking_twice(exchange: Exchange) -> None:
    exchange.ask_next(lambda _: None)
    with pytest.raises(WrongMove, match="Transition from Ready to Ready is not allowed"):
        exchange.ask_next(lambda _: None)


def test_asking_with_an_invocation_in_hand(exchange: Exchange) -> None:
    running(exchange)
    with pytest.raises(WrongMove):
        exchange.ask_next(lambda _: None)


def test_a_start_cannot_fail_once_it_has_succeeded(exchange: Exchange) -> None:
    exchange.ask_next(lambda _: None)
    with pytest.raises(WrongMove):
        exchange.fail_init(b"", "X")


def test_a_runtime_that_hung_up_is_handed_nothing(exchange: Exchange) -> None:
    handed: list[Invocation] = []
    exchange.ask_next(handed.append)
    exchange.withdraw(handed.append)
    exchange.begin(invocation())
    assert not exchange.was_taken
    exchange.ask_next(handed.append)  # it came back
    assert len(handed) == 1


@pytest.mark.parametrize("dropped", [False, True])
def test_an_answer_that_is_too_large(exchange: Exchange, dropped: bool) -> None:
    running(exchange)
    body = b"" if dropped else b"x" * (MAXIMUM_RESPONSE + 1)
    with pytest.raises(AnswerTooLarge):
        exchange.respond("r1", body, too_large=dropped)
    answer = exchange.wait_for_answer(soon())
    assert answer is not None
    assert answer.error_type == "Function.ResponseSizeTooLarge"
    assert b"6291556 bytes" in answer.payload
