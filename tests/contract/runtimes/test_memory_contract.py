"""What every runtime does about the memory of a server."""

# Servers are written as step code is: short, for any Python.

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mlops.ports import RunningServer, ServerSpec

SOON = 60.0
LIMIT_MEGABYTES = 128


def hold(me):
    """Takes as many megabytes as it is told, and keeps them."""
    megabytes = int(me.environment["MEGABYTES"])
    kept = bytearray(megabytes << 20)
    for at in range(0, len(kept), 4096):
        kept[at] = 1
    me.say("holds", len(kept))
    me.sleep(30)


def hold_in_a_child(me):
    """The same in a process that it starts."""
    import subprocess
    import sys

    code = "import time; kept = bytearray(b'x') * (400 << 20); time.sleep(30)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def serve(harness: Any) -> Callable[..., tuple[RunningServer, ServerSpec]]:
    if not harness.real:
        pytest.skip("the fake has no processes")

    def start(program: Any, **environment: str) -> tuple[RunningServer, ServerSpec]:
        job = harness.spec(program, environment=environment)
        spec = ServerSpec(
            name=job.name,
            image=job.image,
            folder=job.folder,
            log=job.log,
            command=job.command,
            arguments=(),
            environment=job.environment,
            memory_megabytes=LIMIT_MEGABYTES,
            port=None,
        )
        return harness.runtime.serve(spec), spec

    return start


@pytest.mark.parametrize("program", [hold, hold_in_a_child])
def test_more_than_its_limit_ends_it(serve: Any, program: Any) -> None:
    server, _ = serve(program, MEGABYTES="400")
    outcome = server.wait(SOON)
    assert outcome is not None
    if program is hold:  # an engine may kill the child alone, and the parent fails for it
        assert (outcome.exit_status, outcome.out_of_memory) == (137, True)
    assert outcome.exit_status != 0


def test_less_than_its_limit_is_told(serve: Any) -> None:
    server, spec = serve(hold, MEGABYTES="60")
    deadline = time.monotonic() + SOON
    while not (spec.log.exists() and "holds" in spec.log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    used = server.peak_megabytes()
    assert used is None or 60 <= used < LIMIT_MEGABYTES  # an engine elsewhere does not tell
    server.stop(0)
    assert server.wait(SOON) is not None
    assert server.peak_megabytes() is None
