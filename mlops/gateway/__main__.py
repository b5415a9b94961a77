"""``python -m mlops.gateway --store DIR``: one gateway, in this process, until it leaves.

By hand it takes its settings as every command does: `mlops.toml`, the environment, flags.
``process.ensure_gateway`` hands them over on the standard input instead.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlops import app
from mlops.errors import GatewayUnavailable, MlopsError
from mlops.gateway.address import LOCK_FILE, FileLock, GatewayAddress, code_version
from mlops.gateway.server import Gateway
from mlops.gateway.wire import error_document
from mlops.ports import JsonObject
from mlops.settings import ImageMapping, Settings

Tell = Callable[[JsonObject], None]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    tell = _teller(options.started_by_command)
    if options.started_by_command is not None and os.fork():
        # The command waits for this process only; the gateway is nobody's child then, and no
        # zombie of whoever started it.
        os._exit(0)
    try:
        settings = _settings(options)
        run(settings, tell)
    except MlopsError as error:
        tell({"error": error_document(error)})
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def run(settings: Settings, tell: Tell) -> None:
    """Hold the state folder and serve it; `tell` hears the address once requests are answered.

    Raises:
        GatewayUnavailable: another gateway holds the state folder.
        MlopsError: why it cannot start.
    """
    lock = FileLock(settings.store / LOCK_FILE)
    if not lock.acquire(wait=False):
        raise GatewayUnavailable(
            "A gateway runs for this state folder",
            where=str(settings.store),
            next_step="use it (`mlops status`), or stop it with `mlops down`",
        )
    # Never released: when the next gateway gets the lock, nothing of this process is left.
    _serve(app.compose_gateway(settings), settings, lock, tell)


def _serve(gateway: Gateway, settings: Settings, lock: FileLock, tell: Tell) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: gateway.leave())
    address = address_of(gateway, settings)
    try:
        address.write(settings.store)
        tell({"address": asdict(address)})
        gateway.wait(lock.is_in_place)
    finally:
        gateway.stop()
        address.remove(settings.store)


def address_of(gateway: Gateway, settings: Settings) -> GatewayAddress:
    from mlops.gateway.address import settings_digest

    return GatewayAddress(
        url=gateway.url,
        pid=os.getpid(),
        version=code_version(),
        started_at=gateway.started_at.isoformat(),
        runtime=gateway.runtime,
        settings=settings_digest(settings),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mlops.gateway", description=__doc__)
    parser.add_argument("--store", type=Path, help="the state folder")
    parser.add_argument("--region")
    parser.add_argument("--account-id", dest="account_id")
    parser.add_argument("--runtime", choices=["auto", "docker", "process"])
    parser.add_argument("--port", dest="gateway_port", type=int, help="0 for any free one")
    parser.add_argument("--host", dest="gateway_host", help="listen beyond this machine, too")
    parser.add_argument("--idle-seconds", dest="gateway_idle_seconds", type=float)
    parser.add_argument("--started-by-command", type=int, help=argparse.SUPPRESS)
    return parser


def _settings(options: argparse.Namespace) -> Settings:
    if options.started_by_command is not None:
        return settings_from(json.load(sys.stdin))
    flags = {name: value for name, value in vars(options).items() if name != "started_by_command"}
    return Settings.load(flags=flags)


def settings_from(document: JsonObject) -> Settings:
    """Settings from their JSON, as ``process`` hands them over: paths as strings."""
    values: dict[str, Any] = dict(document)
    values["images"] = tuple(ImageMapping(**row) for row in document["images"])
    for name in ("store", "dataset", "data_file"):
        values[name] = None if document[name] is None else Path(document[name])
    return Settings(**values)


def _teller(pipe: int | None) -> Tell:
    """Writes one line for the command that waits; without one, to nobody."""
    if pipe is None:
        return lambda message: print(json.dumps(message), flush=True)

    def tell(message: JsonObject) -> None:
        with os.fdopen(pipe, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(message) + "\n")

    return tell


if __name__ == "__main__":
    sys.exit(main())
