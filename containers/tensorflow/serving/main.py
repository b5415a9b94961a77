"""The command `serve`."""

import os
import signal
import sys
import time

from serving.models import FastPath, SavedModel, read_preprocessing
from serving.problems import StartProblem
from serving.settings import read_settings
from serving.workers import bind, run_one, run_several


def main():
    """Serve until SIGTERM: 0. What keeps the server from starting is one line on stderr: 1."""
    started = time.monotonic()
    # Process 1 of a container has no default action: until the server runs, end at once.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        settings = read_settings()
        preprocessing = read_preprocessing(settings.model_folder)
        sock = bind(settings.port)
    except StartProblem as problem:
        return report(problem)
    run = run_one if settings.workers == 1 else run_several
    return run(lambda: serve(settings, preprocessing, sock, started), settings.workers)


def serve(settings, preprocessing, sock, started):
    """Load the model and answer on the socket; the exit status."""
    try:
        server = import_server()
        model = load(settings, preprocessing)
    except StartProblem as problem:
        return report(problem)

    def ready():
        seconds = time.monotonic() - started
        say(f"port {settings.port} · {model.name} of {settings.model_folder} · {seconds:.1f} s")

    import uvloop

    uvloop.run(server.Server(model, settings).run(sock, ready))
    return 0


def import_server():
    try:
        import uvloop  # noqa: F401 (the error comes before the model is loaded)

        from serving import server
    except ImportError as error:
        raise StartProblem(f"the image lacks a package that serving needs: {error}") from None
    return server


def load(settings, preprocessing):
    chosen = FastPath if settings.fast_path else SavedModel
    return chosen(settings.model_folder, preprocessing)


def say(line):
    print(f"serve: {line}", flush=True)


def report(problem):
    print(f"serve: {problem}", file=sys.stderr, flush=True)
    return 1
