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
import traceback

from serving.problems import StartProblem

RESTART_SECONDS = 10
"""A worker that ends sooner than this after its start is not replaced: the server ends with 1."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def bind(port, host=""):
    """The socket, bound and not yet listening: connections are refused until the model is warm.

    Without a host it is open on every address, which in a container is the container's own.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        raise StartProblem(
            f"port {port} cannot be had: {error.strerror}; SAGEMAKER_BIND_TO_PORT chooses another"
            + (f", MODEL_SERVER_HOST is {host}" if host else "")
        ) from None
    return sock


def end_at_once():
    """Until the server runs, a signal to stop ends the process: process 1 of a container has no
    default action for it."""
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: os._exit(0))


class Workers:
    """Processes that run the same function until SIGTERM; what dies later on is replaced."""

    def __init__(self, serve, count):
        """`serve(number)` runs in each process; it may raise StartProblem."""
        self.serve = serve
        self.count = count
        self.running = {}  # process id to (number, when it started)
        self.stopping = False
        self.problems, self.write_problem = os.pipe()

    def run(self):
        """Until SIGTERM or until a worker cannot start: raises what it raised, StartProblem."""
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: self.stop())
        for number in range(self.count):
            self.start(number)
        failed = None
        while self.running:
            pid, status = os.wait()
            number, started = self.running.pop(pid)
            if self.stopping:
                continue
            ended = f"worker {number} ended with {os.waitstatus_to_exitcode(status)}"
            if time.monotonic() - started < RESTART_SECONDS:
                failed = ended
                self.stop()
            else:
                print(f"serve: {ended}; another takes its place", file=sys.stderr, flush=True)
                self.start(number)
        if failed:
            raise StartProblem(self.first_problem() or failed)

    def stop(self):
        self.stopping = True
        for pid in list(self.running):
            os.kill(pid, signal.SIGTERM)

    def start(self, number):
        # A signal waits until the new process is known here, and does what it should there.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        pid = os.fork()
        if pid:
            self.running[pid] = number, time.monotonic()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            return
        status = 1
        try:
            end_at_once()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            self.serve(number)
            status = 0
        except StartProblem as problem:
            os.write(self.write_problem, f"{problem}\n".encode()[:4096])
        except BaseException:  # noqa: BLE001 (it must not go on in the launcher's code)
            traceback.print_exc(file=sys.stderr)
        finally:
            sys.stderr.flush()
            os._exit(status)

    def first_problem(self):
        """What the first worker that could not start has said; '' if none said anything."""
        os.close(self.write_problem)
        with open(self.problems, encoding="utf-8", errors="replace") as stream:
            return stream.readline().rstrip("\n")
