"""The gateway's process, from outside: find it, start it, replace it, stop it.

find     the address file, then a handshake: does it answer, with its pid, version, settings?
replace  one of another version or with other settings is asked to leave, when it is idle
start    one at a time for a state folder (gateway.start.lock): whoever comes second finds what
         the first has started. The new process says through a pipe that it answers, or why not.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from mlops.errors import GatewayUnavailable, MlopsError
from mlops.gateway.address import (
    LOCK_FILE,
    LOG_FILE,
    START_LOCK_FILE,
    FileLock,
    GatewayAddress,
    code_version,
    not_answering,
    read_log_tail,
    settings_digest,
    state_folder,
)
from mlops.gateway.client import GatewayClient
from mlops.gateway.wire import error_from
from mlops.listening import LOOPBACK
from mlops.ports import JsonObject
from mlops.settings import Settings

START_SECONDS = 30.0
LEAVE_SECONDS = 45.0  # executions are stopped first: their jobs get time to end
_HANDSHAKE_SECONDS = 5.0
MAXIMUM_LOG = 4 * 1024 * 1024  # bytes of gateway.log when a gateway is started


def ensure_gateway(settings: Settings) -> GatewayAddress:
    """The gateway of the state folder: the one that runs, or a new one.

    Raises:
        GatewayUnavailable: one of another version or with other settings runs executions, does
            not answer, or the new one does not start (its log's end is in the message).
        PortInUse, DiskFull, RuntimeUnavailable, …: why the new one does not start.
    """
    found = _usable(settings, replace=False)
    if found is not None:
        return found
    with FileLock(settings.store / START_LOCK_FILE):
        # Someone may have started it while this one waited for the lock. A wrong one is replaced
        # under the lock only: two commands that ask it to leave would disturb one another.
        return _usable(settings, replace=True) or _start(settings)


def find_gateway(settings: Settings) -> JsonObject | None:
    """The health document of the state folder's gateway, of whatever version; None without one."""
    address = GatewayAddress.read(settings.store)
    return None if address is None else _handshake(address)


def stop_gateway(settings: Settings) -> GatewayAddress | None:
    """Make the state folder's gateway leave and wait until it has; None where there is none.

    Raises:
        GatewayUnavailable: it does not leave.
    """
    address = GatewayAddress.read(settings.store)
    if address is None or _handshake(address) is None:
        return None
    GatewayClient(address.url).shut_down()
    _wait_until_gone(settings.store, address)
    return address


def _usable(settings: Settings, *, replace: bool) -> GatewayAddress | None:
    """The gateway that runs, if it is the right one; a wrong one is made to leave if asked."""
    address = GatewayAddress.read(settings.store)
    health = _handshake(address) if address is not None else None
    if address is None or health is None:
        return None
    difference = _difference(health, settings)
    if difference is None:
        return address
    if replace:
        _replace(address, health, settings, difference)
    return None


def _handshake(address: GatewayAddress) -> JsonObject | None:
    """What answers at the address, if it is the gateway that wrote it."""
    try:
        health = GatewayClient(address.url, timeout=_HANDSHAKE_SECONDS).health()
    except MlopsError:
        return None  # nothing, or another program: the lock says whether a gateway is there
    return health if health.get("pid") == address.pid else None


def _difference(health: JsonObject, settings: Settings) -> str | None:
    """What keeps a running gateway from serving commands with these settings."""
    if health["version"] != code_version():
        return f"has version {health['version']}, this is {code_version()}"
    if settings.runtime not in ("auto", health["runtime"]):
        return f"runs jobs with the {health['runtime']} runtime, {settings.runtime} is asked for"
    if health["settings"] != settings_digest(settings):
        return "has other settings (region, account, role or images)"
    if settings.gateway_host is not None:
        asked = None if settings.gateway_host == LOOPBACK else settings.gateway_host
        if asked != health.get("host"):
            return (
                f"listens on {health.get('host') or LOOPBACK}, {settings.gateway_host} is asked for"
            )
    port = int(health["url"].rpartition(":")[2])
    if settings.gateway_port not in (0, port):
        return f"has port {port}, {settings.gateway_port} is asked for"
    return None


def _replace(
    address: GatewayAddress, health: JsonObject, settings: Settings, difference: str
) -> None:
    running = health.get("executions", [])
    if running or not GatewayClient(address.url).shut_down(only_if_idle=True):
        raise GatewayUnavailable(
            f"The gateway that runs here {difference}, and runs executions",
            where="\n         ".join([f"{address.url}, pid {address.pid}", *running]),
            next_step="wait for them, or stop them with `mlops down`; then run this again",
        )
    _wait_until_gone(settings.store, address)


def _wait_until_gone(store: Path, address: GatewayAddress) -> None:
    """Until the gateway has let go of its lock, and with it of everything."""
    deadline = time.monotonic() + LEAVE_SECONDS
    lock = FileLock(store / LOCK_FILE)
    while not lock.acquire(wait=False):
        if time.monotonic() > deadline:
            raise GatewayUnavailable(
                f"The gateway (pid {address.pid}) was asked to leave and has not",
                where=str(store),
                next_step=f"see {store / LOG_FILE}; end it with: kill {address.pid}",
            )
        time.sleep(0.02)
    lock.release()


# --- starting ---


def _start(settings: Settings) -> GatewayAddress:
    _refuse_if_held(settings.store)
    _limit_log(settings.store / LOG_FILE)
    read_end, write_end = os.pipe()
    with (
        os.fdopen(read_end, "rb") as said,
        state_folder(settings.store),
        (settings.store / LOG_FILE).open("ab") as log,
    ):
        try:
            process = subprocess.Popen(
                # -P: what lies in the working folder must not stand in for a module.
                [
                    sys.executable,
                    "-P",
                    "-m",
                    "mlops.gateway",
                    "--started-by-command",
                    str(write_end),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the command's terminal is not for it
                pass_fds=[write_end],
            )
        finally:
            os.close(write_end)
        _hand_over(process, settings)
        process.wait()  # it has forked: the gateway itself is no child of this process
        message = _first_message(said.fileno(), START_SECONDS)
    return _started(process, settings, message)


def _limit_log(log: Path) -> None:
    """Put a log that has become large aside, in the place of the one put aside before."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > MAXIMUM_LOG:
            log.replace(log.with_suffix(".log.1"))


def _refuse_if_held(store: Path) -> None:
    """A gateway that holds the lock without answering is not to be doubled."""
    lock = FileLock(store / LOCK_FILE)
    deadline = time.monotonic() + _HANDSHAKE_SECONDS
    while not lock.acquire(wait=False):
        address = GatewayAddress.read(store)
        if address is not None and _handshake(address) is not None:
            return  # a gateway started by hand has just come up: the start finds the lock taken
        if time.monotonic() > deadline:
            pid = address.pid if address is not None else "unknown"
            raise not_answering(store, f"A gateway (pid {pid}) holds the state folder, silent")
        time.sleep(0.05)
    lock.release()


def _hand_over(process: subprocess.Popen[bytes], settings: Settings) -> None:
    """Give the new process the settings, which may come from anywhere, on its standard input."""
    stream = process.stdin
    assert stream is not None
    try:
        with stream:
            stream.write(json.dumps(asdict(settings), default=str).encode())
    except BrokenPipeError:
        pass  # it has ended already; what it said tells why


def _first_message(pipe: int, seconds: float) -> JsonObject | None:
    """The line that the new process writes when it answers or cannot; None when neither comes."""
    deadline = time.monotonic() + seconds
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        part = os.read(pipe, 65536) if ready else b""
        if not part:
            return None
        text += part
    document: JsonObject = json.loads(text)
    return document


def _started(
    process: subprocess.Popen[bytes], settings: Settings, message: JsonObject | None
) -> GatewayAddress:
    if message is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session: whatever of it is left
        tail = read_log_tail(settings.store)
        raise not_answering(
            settings.store, "The gateway did not start:\n" + (tail or "it wrote no log")
        )
    if "error" in message:
        raise error_from(message["error"])
    return GatewayAddress(**message["address"])
