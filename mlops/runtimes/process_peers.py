"""How the processes of one job reach one another by host name.

They share the host's network, so each name gets a loopback address of its own, in a ``/etc/hosts``
that only they see. A program must listen at its own name's address (or at all, ``0.0.0.0``, on a
port that no other instance takes): two instances that both listen at all addresses need two ports.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from mlops.errors import JobError
from mlops.ports import Peers

HOSTS = Path("/etc/hosts")
MOST_HOSTS = 254


def addresses(peers: Peers) -> dict[str, str]:
    """A loopback address for each host, other ones than those of any other network (as good as).

    Raises:
        JobError: there are more hosts than addresses.
    """
    if len(peers.hosts) > MOST_HOSTS:
        raise JobError(
            f"A job of {len(peers.hosts)} instances cannot run as processes of one machine",
            next_step=f"set InstanceCount to {MOST_HOSTS} at most",
        )
    digest = sha256(peers.network.encode()).digest()
    net = f"127.{1 + digest[0] % 254}.{digest[1]}"
    return {host: f"{net}.{number}" for number, host in enumerate(peers.hosts, start=1)}


def hosts_file(present: str, peers: Peers) -> str:
    """The text of ``/etc/hosts`` for the job's processes: what is there, and the job's names."""
    lines = [line for line in present.splitlines() if not _names(line) & set(peers.hosts)]
    lines += [f"{address} {host}" for host, address in addresses(peers).items()]
    return "\n".join(lines) + "\n"


def _names(line: str) -> set[str]:
    return set(line.partition("#")[0].split()[1:])
