"""The pipeline's graph as SVG: steps in columns by their longest way from a root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops.web.markup import Markup, element, join

WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 158, 54, 38, 18, 8
NAME_LENGTH = 15


@dataclass(frozen=True, slots=True)
class Node:
    """A step in the graph. `state` is its status, or ``NotRun``."""

    name: str
    type: str
    state: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    source: str
    target: str
    label: str = ""


def columns(nodes: Sequence[Node], edges: Sequence[Edge]) -> Mapping[str, int]:
    """Each node's column: the number of edges on its longest way from a root.

    The edges must have no cycle; an edge of an unknown node is left out.
    """
    names = {node.name for node in nodes}
    incoming: dict[str, set[str]] = {name: set() for name in names}
    outgoing: dict[str, set[str]] = {name: set() for name in names}
    for edge in edges:
        if edge.source in names and edge.target in names:
            incoming[edge.target].add(edge.source)
            outgoing[edge.source].add(edge.target)
    column = dict.fromkeys((node.name for node in nodes), 0)
    waiting = {name: len(sources) for name, sources in incoming.items()}
    ready = [node.name for node in nodes if not waiting[node.name]]
    while ready:
        name = ready.pop()
        for target in outgoing[name]:
            column[target] = max(column[target], column[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return column


def without_detours(edges: Sequence[Edge], column: Mapping[str, int]) -> list[Edge]:
    """The edges less those that a longer way says already. A labelled edge always stays."""
    targets: dict[str, set[str]] = {}
    for edge in edges:
        targets.setdefault(edge.source, set()).add(edge.target)

    def reaches(start: str, goal: str) -> bool:
        waiting, seen = [start], {start}
        while waiting:
            for name in targets.get(waiting.pop(), ()):
                if name == goal:
                    return True
                if name not in seen and column.get(name, 0) < column.get(goal, 0):
                    seen.add(name)
                    waiting.append(name)
        return False

    return [
        edge
        for edge in edges
        if edge.label
        or not any(
            reaches(between, edge.target) for between in targets[edge.source] - {edge.target}
        )
    ]


def shortened(name: str, length: int) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"


def draw(nodes: Sequence[Node], edges: Sequence[Edge]) -> Markup:
    """The whole graph as one ``<svg>``."""
    place = _places(nodes, edges)
    width = max(x for x, _ in place.values()) + WIDTH + MARGIN if place else 0
    height = max(y for _, y in place.values()) + HEIGHT + MARGIN if place else 0
    shown = without_detours(edges, columns(nodes, edges))
    lines = [_edge(edge, place) for edge in shown if {edge.source, edge.target} <= set(place)]
    boxes = [_node(node, *place[node.name]) for node in nodes]
    return element(
        "svg",
        join(lines),
        join(boxes),
        class_="graph",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label="Graph of the pipeline's steps",
    )


def _places(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    """Top left corners. Within a column a node stands near the middle of what it comes from."""
    column = columns(nodes, edges)
    by_column: dict[int, list[str]] = {}
    for node in nodes:
        by_column.setdefault(column[node.name], []).append(node.name)
    tallest = max((len(names) for names in by_column.values()), default=0)
    row: dict[str, float] = {}
    for number in sorted(by_column):
        names = sorted(by_column[number], key=lambda name: _middle(name, edges, row))
        first = (tallest - len(names)) / 2
        row |= {name: first + position for position, name in enumerate(names)}
    return {
        name: (
            MARGIN + column[name] * (WIDTH + GAP_X),
            MARGIN + row[name] * (HEIGHT + GAP_Y),
        )
        for name in row
    }


def _middle(name: str, edges: Sequence[Edge], row: Mapping[str, float]) -> float:
    rows = [row[edge.source] for edge in edges if edge.target == name and edge.source in row]
    return sum(rows) / len(rows) if rows else 0.0


def _node(node: Node, x: float, y: float) -> Markup:
    name = shortened(node.name, NAME_LENGTH)
    return element(
        "g",
        element("title", f"{node.name} · {node.type} · {node.state}"),
        element("rect", x=x, y=y, width=WIDTH, height=HEIGHT, rx=9),
        element("text", name, x=x + 12, y=y + 23, class_="name"),
        element("text", node.type, x=x + 12, y=y + 41, class_="type"),
        element("text", node.note, x=x + WIDTH - 10, y=y + 41, class_="note"),
        class_=f"node {node.state}",
    )


def _edge(edge: Edge, place: Mapping[str, tuple[float, float]]) -> Markup:
    (x1, y1), (x2, y2) = place[edge.source], place[edge.target]
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2
    bend = max(18.0, (x2 - x1) / 2)
    path = f"M{x1:g} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2:g} {y2:g}"
    label = element("text", edge.label, x=x2 - 6, y=y2 - 6, class_="label") if edge.label else None
    return element("g", element("path", d=path), label, class_="edge")
