"""Which variant answers the next request. Pure; the caller keeps it to one thread at a time.

"The traffic to a production variant is determined by the ratio of the VariantWeight to the sum of
all VariantWeight values" (botocore sagemaker ``ProductionVariant``). Here the ratio is kept as
exactly as whole requests allow, not by chance: smooth weighted round-robin, which nginx uses too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


class WeightedTurns:
    """Names in turn, each as often as its weight says."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0.0)

    def change(self, weights: Mapping[str, float]) -> None:
        """Go on with other weights."""
        self._weights = dict(weights)
        self._credit = dict.fromkeys(weights, 0.0)

    def next(self, among: Collection[str]) -> str | None:
        """The next name of those in `among`; None where none of them has any weight.

        A name that is not among them for a while gets no more afterwards for it.
        """
        candidates = [name for name in self._weights if name in among and self._weights[name] > 0]
        if not candidates:
            return None
        total = sum(self._weights[name] for name in candidates)
        for name in candidates:
            self._credit[name] += self._weights[name]
        chosen = max(candidates, key=self._credit.__getitem__)
        self._credit[chosen] -= total
        return chosen
