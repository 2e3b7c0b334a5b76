"""Charts as SVG, in the colours of the page around them (pure)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW, _LEFT, _WIDTH, _RIGHT = 26, 235, 800, 90
_MOST_SPOTS = 2000


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar from 0 to a value, with its interval and a mark, such as a baseline, where there is one."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def bars(rows: Sequence[Bar], shown: str = "{:+.3f}") -> str:
    """Return horizontal bars with whiskers, each with its value."""
    ends = [0.0, *(row.value for row in rows)]
    ends += [end for row in rows for end in (row.low, row.high) if end is not None]
    low, high = min(ends), max(*ends, 1e-9)
    scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)

    def x(value: float) -> float:
        return _LEFT + (value - low) * scale

    height = _ROW * len(rows) + 8
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" class="bars">']
    for place, row in enumerate(rows):
        middle = _ROW * place + _ROW / 2 + 4
        begin, end = sorted((x(0.0), x(row.value)))
        parts.append(f'<text x="{_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(row.name[:34])}</text>')
        parts.append(
            f'<rect x="{begin:.1f}" y="{middle - 7:.1f}" width="{max(end - begin, 0.5):.1f}" height="14" class="bar"/>'
        )
        if row.low is not None and row.high is not None:
            ends_of = f'x1="{x(row.low):.1f}" x2="{x(row.high):.1f}"'
            parts.append(f'<line {ends_of} y1="{middle:.1f}" y2="{middle:.1f}" class="whisker"/>')
        right = x(max(row.value, row.high if row.high is not None else row.value, 0.0)) + 6
        parts.append(f'<text x="{right:.1f}" y="{middle + 4:.1f}" class="value">{shown.format(row.value)}</text>')
    parts.append(f'<line x1="{x(0.0):.1f}" x2="{x(0.0):.1f}" y1="0" y2="{height}" class="axis"/></svg>')
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Axes:
    """Two axes over values, and where these lie on them."""

    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    width: int = 760
    height: int = 380
    edge: int = 76

    def x(self, value: float) -> float:
        return self.edge + _share(value, self.x_ends) * (self.width - self.edge - 10)

    def y(self, value: float) -> float:
        return self.height - self.edge - _share(value, self.y_ends) * (self.height - self.edge - 10)

    def draw(self, shown: Sequence[tuple[str, float, float, str]], x_label: str, y_label: str) -> str:
        """Return the lines, the values written at them (text, place and anchor), and the labels."""
        parts = [f'<path d="M{self.edge} 10 V{self.height - self.edge} H{self.width - 10}" class="axis" fill="none"/>']
        parts += [
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="value">{text}</text>'
            for text, x, y, anchor in shown
        ]
        middle = self.height / 2
        parts.append(f'<text x="{self.width / 2}" y="{self.height - 8}" text-anchor="middle">{escape(x_label)}</text>')
        parts.append(f'<text x="14" y="{middle}" transform="rotate(-90 14 {middle})" text-anchor="middle">')
        return "".join(parts) + f"{escape(y_label)}</text>"


def _share(value: float, ends: tuple[float, float]) -> float:
    """Return where a value lies between the ends, which a tenth of their distance is added to on both sides."""
    low, high = ends
    wide = (high - low) or 1.0
    return (value - low + 0.08 * wide) / (1.16 * wide)


def scatter(points: Sequence[tuple[str, float, float]], x_label: str, y_label: str, is_log: bool = False) -> str:
    """Return named points on two axes, with the least and the largest value written on each.

    is_log: whether x goes by powers of ten.
    """
    places = [math.log10(x) if is_log else x for _, x, _ in points]
    ys = [y for _, _, y in points]
    axes = _Axes((min(places), max(places)), (min(ys), max(ys)))
    parts = [f'<svg viewBox="0 0 {axes.width} {axes.height}" role="img" class="scatter">']
    xs = [x for _, x, _ in points]
    shown = [
        *((f"{ends(xs):.4g}", axes.x(ends(places)), axes.height - axes.edge + 18, "middle") for ends in (min, max)),
        *((f"{ends(ys):.4g}", axes.edge - 6, axes.y(ends(ys)) + 4, "end") for ends in (min, max)),
    ]
    parts.append(axes.draw(shown, x_label, y_label))
    for (name, _, y), place in zip(points, places, strict=True):
        left, top = axes.x(place), axes.y(y)
        side, shift = ("end", -8) if left > axes.width * 0.75 else ("start", 8)
        parts.append(f'<circle cx="{left:.1f}" cy="{top:.1f}" r="5" class="point"/>')
        parts.append(f'<text x="{left + shift:.1f}" y="{top - 6:.1f}" text-anchor="{side}">{escape(name[:40])}</text>')
    return "".join(parts) + "</svg>"


def cloud(points: Sequence[tuple[float, float]], x_label: str, y_label: str) -> str:
    """Return points in the same unit on both axes, with the line on which both are equal; 2,000 of more."""
    some = points[:: -(-len(points) // _MOST_SPOTS)]
    ends = (min(min(point) for point in some), max(max(point) for point in some))
    axes = _Axes(ends, ends)
    low, high = ends
    parts = [f'<svg viewBox="0 0 {axes.width} {axes.height}" role="img" class="cloud">']
    shown = [
        *((f"{end:.3g}", axes.x(end), axes.height - axes.edge + 18, "middle") for end in ends),
        *((f"{end:.3g}", axes.edge - 6, axes.y(end) + 4, "end") for end in ends),
    ]
    parts.append(axes.draw(shown, x_label, y_label))
    parts += [f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="3" class="spot"/>' for x, y in some]
    ends_of = f'x1="{axes.x(low):.1f}" y1="{axes.y(low):.1f}" x2="{axes.x(high):.1f}" y2="{axes.y(high):.1f}"'
    return "".join(parts) + f'<line {ends_of} class="axis"/></svg>'


def histogram(values: Sequence[float], marks: Sequence[tuple[str, float]], label: str) -> str:
    """Return how many of the values lie where, with named lines, such as compressors', among them."""
    width, height, edge, count = 760, 220, 36, 40
    ends = [*values, *(mark for _, mark in marks)]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    held = [0] * count
    for value in values:
        held[min(int((value - low) / span * count), count - 1)] += 1
    step = (width - 2 * edge) / count
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="histogram">']
    for place, number in enumerate(held):
        tall = number / max(held) * (height - 80)
        parts.append(
            f'<rect x="{edge + place * step:.1f}" y="{height - edge - tall:.1f}" width="{step - 1:.1f}" '
            f'height="{tall:.1f}" class="bar"/>'
        )
    for place, (name, value) in enumerate(marks):
        x = edge + (value - low) / span * (width - 2 * edge)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{12 + 14 * place}" y2="{height - edge}" class="whisker"/>')
        anchor = "end" if x > width * 0.8 else "start"
        shift = -4 if anchor == "end" else 4
        parts.append(
            f'<text x="{x + shift:.1f}" y="{20 + 14 * place}" text-anchor="{anchor}">{escape(name)} {value:.2f}</text>'
        )
    parts.append(f'<path d="M{edge} {height - edge} H{width - edge}" class="axis"/>')
    for value, x, anchor in ((low, edge, "start"), (high, width - edge, "end")):
        parts.append(f'<text x="{x}" y="{height - 18}" text-anchor="{anchor}" class="value">{value:.3g}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 4}" text-anchor="middle">{escape(label)}</text></svg>')
    return "".join(parts)
