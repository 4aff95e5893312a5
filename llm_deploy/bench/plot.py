"""Line charts as SVG text: axes with round numbers, a legend, no script and nothing to fetch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 560, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 58
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df")
"""Told apart in print and by most eyes; lines also have dashes of their own."""
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 4")
MIDDLE = (TOP + HEIGHT - BOTTOM) // 2
TICKS = 5
_THOUSAND = 1000


@dataclass(frozen=True, slots=True)
class Line:
    """One line: points from left to right."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line with a word at its top."""

    x: float
    name: str


def chart(title: str, x_name: str, y_name: str, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> str:
    """The chart; an empty text where there is no point."""
    points = [point for line in lines for point in line.points]
    if not points:
        return ""
    xs = _axis([x for x, _ in points] + [mark.x for mark in marks])
    ys = _axis([0.0, *(y for _, y in points)])
    frame = _Frame(xs, ys)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<text x="{LEFT}" y="16" class="title">{escape(title)}</text>',
        *_grid(frame, xs, ys),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 24}" class="name">{escape(x_name)}</text>',
        f'<text transform="translate(13 {MIDDLE}) rotate(-90)" class="name">{escape(y_name)}</text>',
        *(_mark(frame, mark) for mark in marks),
        *(_line(frame, line, number) for number, line in enumerate(lines)),
        *_legend(lines),
        "</svg>",
    ]
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class _Frame:
    xs: Sequence[float]
    ys: Sequence[float]

    def x(self, value: float) -> float:
        return LEFT + (value - self.xs[0]) / (self.xs[-1] - self.xs[0]) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.ys[0]) / (self.ys[-1] - self.ys[0]) * (HEIGHT - TOP - BOTTOM)


def _axis(values: Sequence[float]) -> list[float]:
    """Round numbers from at most the least value to at least the largest."""
    low, high = min(values), max(values)
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / TICKS
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough * (1 - 1e-9))
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _grid(frame: _Frame, xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    rows = [
        f'<path d="M{LEFT} {frame.y(y):.1f}H{right}" class="grid"/>'
        f'<text x="{LEFT - 6}" y="{frame.y(y) + 4:.1f}" class="y">{_number(y)}</text>'
        for y in ys
    ]
    columns = [
        f'<path d="M{frame.x(x):.1f} {bottom}v4" class="grid"/>'
        f'<text x="{frame.x(x):.1f}" y="{bottom + 16}" class="x">{_number(x)}</text>'
        for x in xs
    ]
    return rows + columns


def _line(frame: _Frame, line: Line, number: int) -> str:
    if not line.points:
        return ""
    path = "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in line.points)
    dots = "".join(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.5"/>' for x, y in line.points)
    shown = dots if len(line.points) <= 2 * TICKS + 2 else ""
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    return f'<g stroke="{colour}" fill="{colour}"><path d="M{path}" fill="none" stroke-dasharray="{dash}"/>{shown}</g>'


def _mark(frame: _Frame, mark: Mark) -> str:
    x = frame.x(mark.x)
    return (
        f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" class="mark"/>'
        f'<text x="{x + 3:.1f}" y="{TOP + 10}" class="x mark-name">{escape(mark.name)}</text>'
    )


def _legend(lines: Sequence[Line]) -> list[str]:
    found, x = [], float(LEFT)
    for number, line in enumerate(lines):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        found.append(
            f'<path d="M{x:.0f} {HEIGHT - 8}h18" stroke="{colour}" stroke-dasharray="{dash}"/>'
            f'<text x="{x + 22:.0f}" y="{HEIGHT - 4}" class="legend">{escape(line.name)}</text>'
        )
        x += 40 + 6.5 * len(line.name)
    return found


def _number(value: float) -> str:
    if abs(value) >= _THOUSAND:
        return f"{value / _THOUSAND:g}k"
    return f"{round(value, 9):.6g}"
