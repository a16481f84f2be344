"""Small charts as SVG: panels with one line each, and stacked bars. No fonts from elsewhere; legible in light and dark.

Each point and each bar bears its value, so that the charts need no axes to be read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 960
_ACROSS: Final = 4
_PANEL: Final = (232, 168)
_PLOT: Final = (20, 44, 212, 132)
"""Left, top, right, bottom of the plot in its panel."""
_BAR: Final = 24
_NAME: Final = 190
_LOGARITHMIC: Final = 20
"""A line whose values differ by more is drawn over logarithms."""
_COLOURS: Final = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#7f7f7f", "#d4a72c")
_STYLE: Final = (
    "<style>.ground{fill:#fff}text{fill:#222}.soft{fill:#555}.axis{stroke:#999}.line{stroke:#2b6cb0;fill:none}"
    ".dot{fill:#2b6cb0}@media(prefers-color-scheme:dark){.ground{fill:#1e2129}text{fill:#e6e6ea}.soft{fill:#a9a9b3}"
    ".axis{stroke:#666}.line{stroke:#7ab8ff}.dot{fill:#7ab8ff}}</style>"
)


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity over another."""

    title: str
    unit: str
    across: str
    """What the horizontal axis counts; its spacing is logarithmic."""
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of parts that add up."""

    name: str
    parts: Sequence[float]


def panels(title: str, shown: Sequence[Panel]) -> str:
    """Return the panels, four to a row."""
    width, height = _PANEL
    rows = math.ceil(len(shown) / _ACROSS)
    drawn = [
        f'<g transform="translate({12 + at % _ACROSS * (width + 4)} {8 + at // _ACROSS * height})">{_panel(panel)}</g>'
        for at, panel in enumerate(shown)
    ]
    return _document(title, 12 + rows * height, drawn)


def bars(title: str, unit: str, legend: Sequence[str], shown: Sequence[Bar]) -> str:
    """Return one row for each bar, all to one scale, with their sums."""
    widest = max(sum(bar.parts) for bar in shown)
    scale = (_WIDTH - _NAME - 130) / widest
    drawn: list[str] = []
    top = 14
    for bar in shown:
        left = float(_NAME)
        drawn.append(_text(_NAME - 10, top + 17, bar.name, anchor="end"))
        for part, colour in zip(bar.parts, _COLOURS, strict=False):
            drawn.append(
                f'<rect x="{left:.1f}" y="{top}" width="{part * scale:.1f}" height="{_BAR}" fill="{colour}">'
                f"<title>{spelled(part)} {escape(unit)}</title></rect>"
            )
            left += part * scale
        drawn.append(_text(left + 8, top + 17, f"{spelled(sum(bar.parts))} {unit}"))
        top += _BAR + 10
    left = float(_NAME)
    for name, colour in zip(legend, _COLOURS, strict=False):
        drawn.append(f'<rect x="{left:.0f}" y="{top + 6}" width="12" height="12" fill="{colour}"/>')
        drawn.append(_text(left + 18, top + 17, name, kind="soft"))
        left += 40 + 7.5 * len(name)
    return _document(title, top + 34, drawn)


def spelled(value: float) -> str:
    """Return a number with three significant digits, or whole from a thousand on, in thin groups of thousands."""
    if value and abs(value) < 1000:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        text = f"{value:.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.0f}".replace(",", "\u202f")


def _panel(panel: Panel) -> str:
    left, top, right, bottom = _PLOT
    xs = _placed([math.log10(x) for x, _ in panel.points], left + 14, right - 14)
    values = [y for _, y in panel.points]
    is_wide = min(values) > 0 and max(values) > _LOGARITHMIC * min(values)
    heights = [math.log10(y) for y in values] if is_wide else values
    ys = _placed(heights, bottom - 8, top + 18, zero=not is_wide)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    parts = [
        _text(left, 14, panel.title, weight=700),
        _text(left, 30, panel.unit + (", logarithmic" if is_wide else ""), kind="soft", size=11),
        f'<path class="axis" d="M{left} {bottom}H{right}"/>',
        f'<polyline class="line" stroke-width="1.8" points="{path}"/>',
        _text((left + right) / 2, bottom + 30, panel.across, anchor="middle", kind="soft", size=11),
    ]
    for at, ((count, value), x, y) in enumerate(zip(panel.points, xs, ys, strict=True)):
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
        # Neighbours closer than their labels: only every other one, and always the last.
        if len(xs) < _ACROSS + 1 or (len(xs) - 1 - at) % 2 == 0:
            parts.append(_text(x, y - 7, spelled(value), anchor="middle", size=11))
            parts.append(_text(x, bottom + 15, spelled(count), anchor="middle", kind="soft", size=11))
    return "".join(parts)


def _placed(values: Sequence[float], first: float, last: float, *, zero: bool = False) -> list[float]:
    low, high = (0.0 if zero else min(values)), max(values)
    return [first + (last - first) * (value - low) / ((high - low) or 1.0) for value in values]


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400, size: int = 13, kind: str = ""
) -> str:
    named = f' class="{kind}"' if kind else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"{named}>'
        f"{escape(text)}</text>"
    )


def _document(title: str, height: float, drawn: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" '
        'font-family="system-ui,sans-serif" font-size="13">'
    )
    ground = f'<rect class="ground" width="{_WIDTH}" height="{height:.0f}"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", _STYLE, ground, *drawn, "</svg>"]) + "\n"
