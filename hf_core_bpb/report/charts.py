"""Charts as SVG, in the colours of the page around them (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW, _LEFT, _WIDTH, _RIGHT = 26, 190, 760, 90


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
        parts.append(f'<text x="{_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(row.name[:28])}</text>')
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


def scatter(points: Sequence[tuple[str, float, float]], x_label: str, y_label: str) -> str:
    """Return named points on two axes, with the ends of each axis written on it."""
    width, height, edge = 760, 380, 56
    xs, ys = [p[1] for p in points], [p[2] for p in points]
    spans = [(min(v), max(v)) for v in (xs, ys)]
    (x0, x1), (y0, y1) = [(a - 0.08 * (b - a or 1), b + 0.08 * (b - a or 1)) for a, b in spans]
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" class="scatter">']
    parts.append(f'<path d="M{edge} 10 V{height - edge} H{width - 10}" class="axis" fill="none"/>')
    for name, x, y in points:
        cx = edge + (x - x0) / (x1 - x0) * (width - edge - 10)
        cy = height - edge - (y - y0) / (y1 - y0) * (height - edge - 10)
        side, shift = ("end", -8) if cx > width * 0.75 else ("start", 8)
        parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="5" class="point"/>')
        parts.append(f'<text x="{cx + shift:.1f}" y="{cy - 6:.1f}" text-anchor="{side}">{escape(name[:40])}</text>')
    low = height - edge + 18
    for value, place, anchor in ((spans[0][0], edge, "start"), (spans[0][1], width - 10, "end")):
        parts.append(f'<text x="{place}" y="{low}" text-anchor="{anchor}" class="value">{value:.4g}</text>')
    for value, place in ((spans[1][0], height - edge), (spans[1][1], 22)):
        parts.append(f'<text x="{edge - 6}" y="{place}" text-anchor="end" class="value">{value:.4g}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<text x="14" y="{height / 2}" transform="rotate(-90 14 {height / 2})" text-anchor="middle">')
    return "".join(parts) + f"{escape(y_label)}</text></svg>"


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
