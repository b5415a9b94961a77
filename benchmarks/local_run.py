"""The main job as a newcomer meets it: a fresh clone, `make local-run`, and once more.

For each runtime that this machine has: the first run (set-up and, in Docker, images that are not
current included), the second (set-up done), and for Docker the size of the TensorFlow image and
its rebuild after a change of what the image holds. The goals: 4 minutes and 25 s in processes,
7 minutes and 35 s in Docker, under 2.2 GB, under 10 s. Package and image caches of this machine
stay as they are and make the first run quicker.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
TOUCHED = "containers/tensorflow/bin/serve"


def timed(command: list[str], folder: Path) -> float:
    """Seconds that a command takes; it has to succeed. What it prints is kept for a failure."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return seconds


def measure(runtime: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="mlops-bench-"))
    clone = folder / "clone"
    try:
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        command = ["make", "local-run", f"ARGS=--runtime {runtime} --quiet"]
        print(f"{runtime:>8}  fresh clone to result {timed(command, clone):6.1f} s", flush=True)
        print(f"{runtime:>8}  set-up done           {timed(command, clone):6.1f} s", flush=True)
        if runtime == "docker":
            measure_images(clone)
        subprocess.run([".venv/bin/mlops", "down"], cwd=clone, check=True, capture_output=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure_images(clone: Path) -> None:
    listed = subprocess.run(
        [".venv/bin/mlops", "images", "list", "--json"],
        cwd=clone,
        check=True,
        capture_output=True,
        text=True,
    )
    for image in json.loads(listed.stdout):
        print(f"{image['image']:>8}  {image['size'] / 1e9:.2f} GB")
    touched = clone / TOUCHED
    kept = touched.read_bytes()
    touched.write_bytes(kept + f"\n# measured at {time.time()}\n".encode())
    print(
        f"  docker  rebuild after a change of {TOUCHED}: {timed(['make', 'images'], clone):.1f} s"
    )
    touched.write_bytes(kept)
    timed(["make", "images"], clone)


def main() -> None:
    from mlops.errors import RuntimeUnavailable
    from mlops.runtimes.docker_engine import find_engine

    measure("process")
    try:
        find_engine(os.environ)
    except RuntimeUnavailable as error:
        print(f"  docker  left out: {error}")
        return
    measure("docker")


if __name__ == "__main__":
    main()
