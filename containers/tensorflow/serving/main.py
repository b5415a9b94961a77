"""The command `serve`."""

import asyncio
import os
import sys
import time

from serving.models import FastPath, SavedModel, read_preprocessing
from serving.problems import StartProblem
from serving.settings import read_settings
from serving.workers import STOP_SIGNALS, Workers, bind, end_at_once


def main():
    """Serve until SIGTERM: 0. What keeps the server from starting is one line on stderr: 1."""
    started = time.monotonic()
    end_at_once()
    try:
        settings = read_settings()
        preprocessing = read_preprocessing(settings.model_folder)
        sock = bind(settings.port, settings.host)
        if settings.workers == 1:
            serve(settings, preprocessing, sock, started)
        else:
            launcher = os.getpid()
            Workers(
                lambda number: serve(settings, preprocessing, sock, started, number, launcher),
                settings.workers,
            ).run()
    except StartProblem as problem:
        print(f"serve: {problem}", file=sys.stderr, flush=True)
        return 1
    return 0


def serve(settings, preprocessing, sock, started, number=0, launcher=None):
    """Load the model and answer on the socket until SIGTERM. Raises StartProblem.

    A worker tells nothing but the first one's start, and ends when its launcher is gone.
    """
    try:
        import uvloop

        from serving.server import Server
    except ImportError as error:
        raise StartProblem(f"the image lacks a package that serving needs: {error}") from None
    chosen = FastPath if settings.fast_path else SavedModel
    model = chosen(settings.model_folder, preprocessing)

    def ready():
        loop = asyncio.get_running_loop()
        for stop_signal in STOP_SIGNALS:
            loop.add_signal_handler(stop_signal, server.stop)
        if number == 0:
            seconds = time.monotonic() - started
            count = f" · {settings.workers} workers" if settings.workers > 1 else ""
            where = f"{model.name} of {settings.model_folder}"
            print(f"serve: port {settings.port} · {where}{count} · {seconds:.1f} s", flush=True)

    server = Server(model, settings, launcher)
    uvloop.run(server.run(sock, ready))
