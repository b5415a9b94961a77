"""One process or several on one socket.

One is the default: it evaluates the requests of all connections together, and a second TensorFlow
takes as much memory again. Several share the bound socket; each listens once its own model is warm.
Forking comes before anything is imported that starts threads.
"""

import os
import signal
import socket
import sys
import time

from serving.problems import StartProblem

RESTART_SECONDS = 10
"""A worker that ends sooner than this after its start is not replaced: the server ends with 1."""


def bind(port):
    """The socket, bound and not yet listening: connections are refused until the model is warm."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("", port))
    except OSError as error:
        raise StartProblem(
            f"port {port} cannot be had: {error.strerror}; SAGEMAKER_BIND_TO_PORT chooses another"
        ) from None
    return sock


def run_one(serve, _):
    """Run `serve()` in this process; its exit status."""
    return serve()


def run_several(serve, count):
    """Run `serve()` in `count` processes until SIGTERM, replacing what dies; the exit status."""
    stopping = []

    def stop(*_):
        stopping.append(True)
        for pid in workers:
            os.kill(pid, signal.SIGTERM)

    workers = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    for _ in range(count):
        workers[start_worker(serve)] = time.monotonic()
    status = 0
    while workers:
        pid, ended = os.wait()
        started = workers.pop(pid)
        if stopping or pid == 0:
            continue
        code = os.waitstatus_to_exitcode(ended)
        if time.monotonic() - started < RESTART_SECONDS:
            status = 1
            stop()
        else:
            print(f"serve: a worker ended with {code}; another takes its place", file=sys.stderr)
            workers[start_worker(serve)] = time.monotonic()
    return status


def start_worker(serve):
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = serve()
    finally:
        os._exit(status)
