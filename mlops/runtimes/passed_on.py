"""What a job inherits of the caller's environment: how to reach the network, and nothing else.

A job gets a clean environment, so that the gateway's secrets stay with the gateway and a run does
not depend on a shell. But behind a TLS-inspecting proxy or with a private package index, `pip` in
a job must find the same certificates, proxies and indexes as on the host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CERTIFICATE_VARIABLES = (
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def network_environment(
    environment: Mapping[str, str], gateway_host: str, *, certificates: bool = True
) -> dict[str, str]:
    """The variables of `environment` that jobs inherit: certificates, proxies, pip's settings.

    A proxy never stands between a job and the gateway: `gateway_host` joins `no_proxy`.
    """
    passed = {
        name: value
        for name, value in environment.items()
        if (certificates and name in CERTIFICATE_VARIABLES)
        or name.lower() in PROXY_VARIABLES
        or (name.startswith("PIP_") and name not in CERTIFICATE_VARIABLES)
    }
    if any(name.lower() in PROXY_VARIABLES for name in passed):
        past = passed.get("no_proxy") or passed.get("NO_PROXY") or ""
        hosts = ",".join(filter(None, [past, "localhost", "127.0.0.1", gateway_host]))
        passed |= {"no_proxy": hosts, "NO_PROXY": hosts}
    return passed


def pip_configuration(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """`PIP_CONFIG_FILE` for the caller's own pip configuration, which a job's HOME would hide."""
    if "PIP_CONFIG_FILE" in environment:
        return {"PIP_CONFIG_FILE": environment["PIP_CONFIG_FILE"]}
    home = Path(environment.get("HOME", "/"))
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    for file in (config / "pip/pip.conf", home / ".pip/pip.conf"):
        if file.is_file():
            return {"PIP_CONFIG_FILE": str(file)}
    return {}
