"""Where servers for this machine's own containers listen: on no address but this machine's."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def is_own_address(host: str) -> bool:
    """Whether `host` is an IP address of this machine other than the loopback one."""
    if host == LOOPBACK:
        return False
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False  # host.docker.internal, say: Docker Desktop leads it to the loopback
    return True


def listening_host(job_host: str) -> str:
    """The address to listen on for jobs that reach this machine as `job_host`."""
    return job_host if is_own_address(job_host) else LOOPBACK
