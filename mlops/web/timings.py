"""The steps on a time line, as SVG: when each ran, and how much of it was its job's own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlops.web.graph import shortened
from mlops.web.markup import Markup, element, join

NAME_WIDTH, CHART_WIDTH, ROW, BAR, MARGIN = 190, 680, 28, 16, 24
NAME_LENGTH = 26


@dataclass(frozen=True, slots=True)
class Span:
    """`start` and `seconds` count from the execution's start; `overhead` is part of `seconds`."""

    name: str
    state: str
    start: float
    seconds: float
    overhead: float


def draw(spans: Sequence[Span]) -> Markup:
    """The time line as one ``<svg>``."""
    end = max((span.start + span.seconds for span in spans), default=0.0) or 1.0
    height = len(spans) * ROW + MARGIN
    width = NAME_WIDTH + CHART_WIDTH + 70
    scale = CHART_WIDTH / end
    return element(
        "svg",
        join([_tick(second, scale, height) for second in ticks(end)]),
        join([_row(span, number, scale) for number, span in enumerate(spans)]),
        class_="timings",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label="Time line of the steps",
    )


def ticks(end: float) -> list[float]:
    """At most eight round numbers of seconds from 0 to `end`."""
    step = 10.0**-3
    while end / step > 8:
        for factor in (2, 2.5, 2):
            step *= factor
            if end / step <= 8:
                break
    return [number * step for number in range(int(end / step) + 1)]


def _tick(second: float, scale: float, height: int) -> Markup:
    x = NAME_WIDTH + second * scale
    return element(
        "g",
        element("line", x1=x, x2=x, y1=0, y2=height - MARGIN),
        element("text", f"{second:g} s", x=x, y=height - 7),
        class_="tick",
    )


def _row(span: Span, number: int, scale: float) -> Markup:
    y = number * ROW + (ROW - BAR) / 2
    x = NAME_WIDTH + span.start * scale
    whole = max(2.0, span.seconds * scale)
    name = shortened(span.name, NAME_LENGTH)
    overhead = min(whole, span.overhead * scale)
    return element(
        "g",
        element("title", f"{span.name}: {span.seconds:.2f} s, {span.overhead:.2f} s overhead"),
        element("text", name, x=NAME_WIDTH - 12, y=y + 12, class_="name"),
        element("rect", x=x, y=y, width=whole, height=BAR, rx=3, class_="bar"),
        element("rect", x=x, y=y, width=overhead, height=BAR, rx=3, class_="overhead"),
        element("text", f"{span.seconds:.1f} s", x=x + whole + 6, y=y + 12, class_="seconds"),
        class_=f"span {span.state}",
    )
