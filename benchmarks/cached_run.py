"""A run of the lab's pipeline whose steps all come from the cache, from the command to its exit.

Goal: at most 3 s, without deployment. Measured with the gateway running and with it stopped, on
jobs as processes; what the steps do does not count, since none of them runs a job.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GOAL_SECONDS = 3.0
RUNS = 5
CACHED = {"ETL", "Train", "Evaluate"}


def run(store: Path) -> tuple[float, set[str]]:
    """The seconds of one `mlops run`, and the steps that came from the cache."""
    result = store / "result.json"
    options = ["--store", store, "--runtime", "process", "--no-deploy", "--json", result]
    begin = time.perf_counter()
    subprocess.run([*_mlops(), "run", *map(str, options)], check=True, capture_output=True)
    seconds = time.perf_counter() - begin
    steps = json.loads(result.read_text(encoding="utf-8"))["steps"]
    return seconds, {step["name"] for step in steps if step["cache_hit"]}


def stop(store: Path) -> None:
    subprocess.run([*_mlops(), "down", "--store", str(store)], check=True, capture_output=True)


def _mlops() -> list[str]:
    return [str(Path(sys.executable).with_name("mlops"))]


def main() -> None:
    store = Path(tempfile.mkdtemp(prefix="mlops-bench-"))
    try:
        first, _ = run(store)
        print(f"  the first run, nothing cached     {first:6.2f} s", flush=True)
        measure(store, "cached, the gateway runs", cold=False)
        measure(store, "cached, the gateway starts", cold=True)
        stop(store)
    finally:
        shutil.rmtree(store, ignore_errors=True)


def measure(store: Path, what: str, *, cold: bool) -> None:
    found = []
    for _ in range(RUNS):
        if cold:
            stop(store)
        seconds, hits = run(store)
        if hits != CACHED:
            raise SystemExit(f"from the cache came {sorted(hits)}, not {sorted(CACHED)}")
        found.append(seconds)
    verdict = "met" if max(found) <= GOAL_SECONDS else "MISSED"
    print(
        f"  {what:<32}  {statistics.median(found):6.2f} s  (worst {max(found):.2f} s of {RUNS}, "
        f"goal {GOAL_SECONDS:.0f} s: {verdict})",
        flush=True,
    )


if __name__ == "__main__":
    main()
