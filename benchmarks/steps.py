"""Pipelines of many steps, ours beside the SDK's stock local mode in the same run.

- Two steps that wait for nothing and sleep five seconds each. The goal: under 5.5 s in all.
- Fifty steps in a row that do next to nothing. The goals: at most 4 s in processes, in Docker at
  most half of what the stock executor takes.

The same pipelines and images as in `overhead`, which says what a peer needs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.overhead import SCRIPT, Work, each

SLEEP = "time.sleep(0.2)"


def main() -> None:
    show("two steps side by side, 5 s each", SCRIPT.replace(SLEEP, "time.sleep(5)"), TWO)
    show("50 steps in a row", SCRIPT.replace(SLEEP, "pass"), FIFTY)


TWO = Work(steps=2, chained=False)
FIFTY = Work(steps=50, warm_up=False)


def show(what: str, script: str, work: Work) -> None:
    print(f"  {what}")
    stock = float("nan")
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as place:
        (Path(place) / "script.py").write_text(script)
        for name, took in each(Path(place), work):
            stock = took.seconds if name == "stock" else stock
            ratio = took.seconds / stock
            print(f"{name:>10}  {took.seconds:7.2f} s  {ratio:6.1%} of stock", flush=True)


if __name__ == "__main__":
    main()
