"""Install an image's Python packages below a folder that a later build stage copies over its base.

    python3 install_packages.py --root /packages requirements.txt

Run in a build stage of its own, whose files never reach the final image: next to this script lie
`constraints.txt` (the project's pins) and, where the person who builds has them, `pip.conf` (index
addresses, maybe with passwords) and `ca-bundle.crt` (the certificates of a TLS-inspecting proxy).

What the base image has stays as it is: a TensorFlow Deep Learning Container keeps its own
TensorFlow, and every version that goes with it. A requirement line may end in a comment
`# provides NAME`: it is left out where the base can import NAME. A package that the base has keeps
its version, whatever the constraints say; all others get the version in `constraints.txt`.

Standard library only, Python 3.9 and later.
"""

import argparse
import compileall
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from pip._vendor import certifi

HERE = Path(__file__).resolve().parent

NOT_RUN = (
    "numpy/**/tests",
    "pandas/tests",
    "scipy/**/tests",
    "sklearn/**/tests",
    "tensorflow/include",  # C++ headers, for building extensions
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("requirements", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    given = parser.parse_args()
    given.root.mkdir(parents=True, exist_ok=True)
    link_python(given.root)
    wanted = missing(given.requirements.read_text(encoding="utf-8"))
    if not wanted:
        print("the base image has every package already", flush=True)
        return 0
    return install(wanted, given.root)


def link_python(root):
    """Give an image that has `python3` only (Debian) the name `python` too."""
    if any(Path(folder, "python").exists() for folder in os.get_exec_path()):
        return
    folder = root / "usr/local/bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python").symlink_to(sys.executable)


def missing(requirements):
    """The requirement lines whose `# provides NAME` the base cannot import."""
    wanted = []
    for line in requirements.splitlines():
        requirement, _, comment = (part.strip() for part in line.partition("#"))
        provides = re.match(r"provides ([\w.]+)", comment)
        if provides and importlib.util.find_spec(provides.group(1)) is not None:
            print(f"{requirement}: the base image has it", flush=True)
        elif requirement:
            wanted.append(requirement)
    return wanted


def constraints(pins, installed):
    """The pins less those of packages that the base has, which stay at the base's version."""
    return [
        *(pin for pin in pins if (name := package_name(pin)) and name not in installed),
        *(f"{name}=={version}" for name, version in sorted(installed.items())),
    ]


def package_name(pin):
    """The name in a line of constraints in the form that compares equal (PEP 503), or ''."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)", pin)
    return re.sub(r"[-_.]+", "-", found.group(1)).lower() if found else ""


def install(wanted, root):
    installed = {
        package_name(package.metadata["Name"]): package.version
        for package in metadata.distributions()
        if package.metadata["Name"]
    }
    pins = (HERE / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept = HERE / "constraints-for-this-base.txt"
    kept.write_text("\n".join(constraints(pins, installed)) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--root", str(root)]
    command += ["--no-cache-dir", "--no-compile", "--progress-bar", "off"]
    command += ["--constraint", str(kept), *wanted]
    status = subprocess.run(command, env=pip_environment(), check=False).returncode
    if status == 0:
        trim(root)
        # On all cores, and what is left only. Jobs may not write byte code into the image.
        compileall.compile_dir(root, quiet=2, workers=0, stripdir=root, prependdir="/")
    return status


def trim(root):
    """Remove what no job runs: half of the files, and with them half of a build's time."""
    for pattern in NOT_RUN:
        for folder in list(root.glob("**/*-packages/" + pattern)):
            shutil.rmtree(folder, ignore_errors=True)  # a folder within one already removed


def pip_environment():
    environment = dict(os.environ)
    environment.update(
        PIP_BREAK_SYSTEM_PACKAGES="1",  # Debian's Python asks for it; this is its only user
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_ROOT_USER_ACTION="ignore",
    )
    if (HERE / "pip.conf").is_file():
        environment["PIP_CONFIG_FILE"] = str(HERE / "pip.conf")
    bundle = HERE / "ca-bundle.crt"
    if bundle.is_file():
        trusted = HERE / "trusted.crt"
        trusted.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + bundle.read_bytes())
        environment.update(PIP_CERT=str(trusted), SSL_CERT_FILE=str(trusted))
    return environment


if __name__ == "__main__":
    sys.exit(main())
