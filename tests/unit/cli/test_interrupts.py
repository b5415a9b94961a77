"""Ctrl-C and SIGTERM: raised as KeyboardInterrupt, now or at the end of what must not be cut."""

import os
import signal

import pytest

from mlops.interrupts import interrupts_held, sigterm_interrupts


@pytest.fixture
def handlers():
    """The handlers that a command of its own process begins with."""
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.usefixtures("handlers")
def test_sigterm_is_an_interrupt_for_as_long_as_it_is_asked():
    with sigterm_interrupts(), pytest.raises(KeyboardInterrupt):
        send(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("handlers")
def test_a_sigterm_that_is_ignored_stays_so():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with sigterm_interrupts():
        send(signal.SIGTERM)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_held_ends_before_the_interrupt_comes(number):
    done = []

    def held():
        with interrupts_held() as interrupted:
            assert not interrupted()
            send(number)
            assert interrupted()
            done.append("whole")

    with sigterm_interrupts(), pytest.raises(KeyboardInterrupt):
        held()
    assert done == ["whole"]


@pytest.mark.usefixtures("handlers")
def test_an_error_of_what_is_held_is_told_before_an_interrupt():
    def held():
        with interrupts_held():
            send(signal.SIGINT)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        held()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("handlers")
def test_under_nohup_an_ignored_interrupt_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts_held() as interrupted:
        send(signal.SIGINT)
        assert not interrupted()
