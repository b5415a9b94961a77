"""HTML as text, with everything that comes from outside escaped."""

from __future__ import annotations

from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, *children: str | None, **attributes: str | float | None) -> Markup:
    """``<tag …>children</tag>``; plain text is escaped, None left out.

    An attribute's name loses its trailing underscore and turns ``_`` into ``-``.
    """
    words = [tag]
    for name, value in attributes.items():
        if value is not None:
            words.append(f'{name.rstrip("_").replace("_", "-")}="{escape(_number(value))}"')
    inner = "".join(text(child) for child in children if child is not None)
    return Markup(f"<{' '.join(words)}>{inner}</{tag}>")


def text(value: str) -> Markup:
    """Escape unless it is markup already."""
    return value if isinstance(value, Markup) else Markup(escape(value))


def join(parts: list[Markup]) -> Markup:
    return Markup("".join(parts))


def _number(value: str | float) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
