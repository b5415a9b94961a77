"""Where this machine's servers listen, and who is near: on it, or in a container of its."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"


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


def is_near(peer: str, bridge: str | None) -> bool:
    """Whether who calls from the address `peer` is a program of this machine or its container.

    That is so over the loopback, and for whoever this machine's answers reach through the
    interface of its address `bridge`. Where a packet claims to come from does not count: there is
    a connection only if our answers have arrived.
    """
    if peer.startswith("127."):
        return True
    return bridge is not None and address_towards(peer) == bridge


def address_towards(peer: str) -> str | None:
    """This machine's own address on its way to another one; None where there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((peer, 9))  # nothing is sent: the kernel only looks up the route
        except OSError:
            return None
        return str(probe.getsockname()[0])


def own_address() -> str:
    """The address by which other machines reach this one, as far as it can tell; else its name."""
    # 192.0.2.0/24 is nobody's (RFC 5737): the way there is the way out of this machine.
    found = address_towards("192.0.2.1")
    return socket.gethostname() if found in (None, LOOPBACK) else str(found)
