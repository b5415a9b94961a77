"""What CloudWatch would know of a variant's invocations, since the gateway has watched it.

The names are those of the metrics that SageMaker publishes in ``AWS/SageMaker`` ("Metrics for
monitoring Amazon SageMaker AI with Amazon CloudWatch").
"""

from __future__ import annotations

import threading
from collections import deque

from mlops.ports import JsonObject

KEPT = 1000
"""Latencies that the percentiles are taken of: the last ones."""


class InvocationStatistics:
    """Counts and latencies of one variant. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._invocations = self._client_errors = self._server_errors = 0
        self._latencies: deque[float] = deque(maxlen=KEPT)

    def count(self, status: int, seconds: float) -> None:
        """One invocation: the container's status (0 for none) and how long it took to answer."""
        with self._lock:
            self._invocations += 1
            self._client_errors += 400 <= status < 500
            self._server_errors += status >= 500 or status == 0
            self._latencies.append(seconds)

    def document(self) -> JsonObject:
        """The metrics; ``ModelLatency`` in microseconds, as CloudWatch has it."""
        with self._lock:
            counts = {
                "Invocations": self._invocations,
                "Invocation4XXErrors": self._client_errors,
                "Invocation5XXErrors": self._server_errors,
            }
            latencies = sorted(self._latencies)
        if not latencies:
            return counts
        return counts | {
            "ModelLatency": {
                "Average": round(1e6 * sum(latencies) / len(latencies)),
                **{f"p{each}": round(1e6 * _percentile(latencies, each)) for each in (50, 95, 99)},
            }
        }


def _percentile(ordered: list[float], percent: int) -> float:
    """The nearest-rank percentile."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
