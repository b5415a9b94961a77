"""How pip reaches its index from here, for a build: configuration, certificates, proxies.

A build has neither the person's pip configuration nor the certificates of a TLS-inspecting proxy.
Both go into the build's context as files, into the stage that installs and no further.
"""

from __future__ import annotations

import ast
import configparser
import io
import os
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from mlops.errors import EnvironmentLacks

INDEX_OPTIONS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "proxy",
    "timeout",
    "retries",
)
PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy")
"""Docker hands these on to the steps of a build and keeps them out of the image's history."""

CERTIFICATE_VARIABLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")


@dataclass(frozen=True, slots=True)
class PackageAccess:
    """What a build needs to install packages as this machine does.

    ``pip_conf`` is the text of a pip.conf ("" where pip's defaults do). ``certificates`` is a file
    of certificates to trust besides those that pip has. ``proxies`` are build arguments.
    """

    pip_conf: str = ""
    certificates: Path | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)

    def context_files(self) -> dict[str, bytes]:
        files = {"pip.conf": self.pip_conf.encode()} if self.pip_conf else {}
        if self.certificates:
            files["ca-bundle.crt"] = self.certificates.read_bytes()
        return files

    @property
    def first_hop(self) -> str | None:
        """The URL that pip connects to first: a proxy, else the index; None for pip's default."""
        options = read_options(self.pip_conf)
        url = options.get("proxy") or self.proxies.get("https_proxy") or options.get("index-url")
        return f"http://{url}" if url and "://" not in url else url

    @property
    def only_from_this_host(self) -> bool:
        """Whether that address is this host's own loopback, which a bridge cannot reach."""
        host = urlsplit(self.first_hop or "").hostname or ""
        return host == "localhost" or host.startswith("127.") or host == "::1"


def package_access(environment: Mapping[str, str] = os.environ) -> PackageAccess:
    """Read this machine's way to packages: pip's configuration and variables, and the proxies.

    Raises:
        EnvironmentLacks: a variable names a file of certificates that is not there.
    """
    options = pip_options(environment)
    return PackageAccess(
        pip_conf=write_options(options),
        certificates=certificates(options, environment),
        proxies=proxies(environment),
    )


def pip_options(environment: Mapping[str, str]) -> dict[str, str]:
    """pip's settings of this user and environment, later sources over earlier ones."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        raise EnvironmentLacks(
            f"pip's configuration cannot be read: {listed.stderr.strip()}",
            where=sys.executable,
            next_step="set up the environment anew: make setup",
        )
    return parse_pip_options(listed.stdout)


def parse_pip_options(listed: str) -> dict[str, str]:
    """The output of `pip config list`: lines such as ``global.index-url='https://…'``.

    pip lets `install.` win over `global.`, and variables (`:env:.`) over both.
    """
    ranks = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        name, _, quoted = line.partition("=")
        section, _, option = name.rpartition(".")
        option = "timeout" if option == "default-timeout" else option
        if section in ranks and ranks[section] >= found.get(option, (-1, ""))[0]:
            found[option] = (ranks[section], str(ast.literal_eval(quoted)))
    return {option: value for option, (_, value) in found.items()}


def write_options(options: Mapping[str, str]) -> str:
    """A pip.conf with those options that also hold inside a build."""
    kept = {name: options[name] for name in INDEX_OPTIONS if options.get(name)}
    links = [link for link in kept.pop("find-links", "").split() if "://" in link]
    if links:  # a folder of this machine is not there in a build
        kept["find-links"] = "\n".join(links)
    if not kept:
        return ""
    written = configparser.RawConfigParser()
    written["global"] = kept
    text = io.StringIO()
    written.write(text)
    return text.getvalue()


def read_options(pip_conf: str) -> Mapping[str, str]:
    parsed = configparser.RawConfigParser()
    parsed.read_string(pip_conf)
    return parsed["global"] if parsed.has_section("global") else {}


def certificates(options: Mapping[str, str], environment: Mapping[str, str]) -> Path | None:
    """The certificates that this machine trusts: as told to pip or others, else the system's."""
    told = [("pip's option cert", options.get("cert"))]
    told += [(name, environment.get(name)) for name in CERTIFICATE_VARIABLES]
    for name, value in told:
        if value and not Path(value).is_file():
            raise EnvironmentLacks(
                f"{name} names a file of certificates that is not there",
                where=value,
                next_step=f"correct {name}, or unset it",
            )
        if value:
            return Path(value)
    system = ssl.get_default_verify_paths().openssl_cafile
    candidates = (Path(system), Path("/etc/ssl/certs/ca-certificates.crt"))
    return next((file for file in candidates if file.is_file()), None)


def proxies(environment: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in PROXY_VARIABLES:
        value = environment.get(name) or environment.get(name.upper())
        if value:
            found |= {name: value, name.upper(): value}
    return found
