"""What a job inherits of the caller's environment: how to reach the network, and nothing else.

A job gets a clean environment, so that the gateway's secrets stay with the gateway and a run does
not depend on a shell. But behind a TLS-inspecting proxy or with a private package index, `pip` in
a job must find the same certificates, proxies and indexes as on the host.
"""

from __future__ import annotations

import os
import re
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


CONTAINER_FOLDER = "/etc/mlops"
"""Where a container finds the host's certificates and pip configuration."""

_PIP_IN_CONTAINERS = (
    "PIP_DEFAULT_TIMEOUT",
    "PIP_DISABLE_PIP_VERSION_CHECK",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_RETRIES",
    "PIP_TRUSTED_HOST",
)


def container_network(
    environment: Mapping[str, str], gateway_host: str
) -> tuple[dict[str, str], list[tuple[Path, str]]]:
    """The same for a container: variables, and files to mount at paths that these name.

    Left out is what means nothing there: paths of the host other than the mounted files, and
    proxies on the host's loopback.
    """
    passed = network_environment(environment, gateway_host, certificates=False)
    variables = {
        name: value
        for name, value in passed.items()
        if (name.lower() in PROXY_VARIABLES and not re.search(r"//(localhost|127\.)", value))
        or name in _PIP_IN_CONTAINERS
    }
    files: dict[Path, str] = {}
    for name in CERTIFICATE_VARIABLES:
        bundle = Path(environment.get(name, ""))
        if bundle.is_file():
            target = files.setdefault(bundle.resolve(), f"{CONTAINER_FOLDER}/ca-{len(files)}.crt")
            variables[name] = target
    for name, path in pip_configuration(environment).items():
        if Path(path).is_file():
            variables[name] = files.setdefault(Path(path).resolve(), f"{CONTAINER_FOLDER}/pip.conf")
    return variables, list(files.items())
