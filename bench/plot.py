"""Two plots as SVG, by hand: bars on a logarithmic scale, and how late grants closed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from bench.numbers import told

_OURS, _RIVAL, _INK, _LINE = "#2f6fb0", "#c8763a", "#333333", "#d9d9d9"
_WIDTH, _LEFT, _RIGHT = 860, 260, 110
_FONT = 'font-family="system-ui, sans-serif" font-size="13"'


@dataclass(frozen=True)
class Pair:
    """One figure of the app and of the rival."""

    label: str
    ours: float
    rival: float
    unit: str


def bars(title: str, pairs: Sequence[Pair]) -> str:
    """Draw a pair of bars for each thing; the scale is logarithmic, and says so."""
    top, step = 70, 52
    height = top + step * len(pairs) + 20
    most = max(value for pair in pairs for value in (pair.ours, pair.rival))
    least = min(value for pair in pairs for value in (pair.ours, pair.rival)) / 2
    span = math.log10(most / least)

    def length(value: float) -> float:
        return (_WIDTH - _LEFT - _RIGHT) * math.log10(value / least) / span

    parts = [_head(height, title), _legend()]
    for number, pair in enumerate(pairs):
        y = top + step * number
        parts.append(_text(_LEFT - 10, y + 22, pair.label, anchor="end"))
        parts.append(_bar(y + 4, length(pair.ours), _OURS, f"{told(pair.ours)} {pair.unit}"))
        parts.append(_bar(y + 22, length(pair.rival), _RIVAL, f"{told(pair.rival)} {pair.unit}"))
    return "\n".join([*parts, "</svg>", ""])


def shares(title: str, seconds: Sequence[float], limit: float) -> str:
    """Draw the share of grants closed within so many seconds."""
    height, top, low = 340, 60, 290
    longest = max(limit, *seconds) * 1.05
    width = _WIDTH - 100 - 30

    def x(value: float) -> float:
        return 70 + width * value / longest

    def y(share: float) -> float:
        return low - (low - top) * share

    parts = [_head(height, title)]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<path d="M70 {y(share):.1f}H{70 + width}" stroke="{_LINE}"/>')
        parts.append(_text(60, y(share) + 4, f"{share:.0%}", anchor="end"))
    parts += [
        _text(x(second), low + 20, f"{second} s", anchor="middle")
        for second in range(0, int(longest) + 1, max(1, int(longest) // 8))
    ]
    found = sorted(seconds)
    points = " ".join(
        f"{x(value):.1f},{y((number + 1) / len(found)):.1f}" for number, value in enumerate(found)
    )
    parts.append(f'<polyline points="{points}" fill="none" stroke="{_OURS}" stroke-width="2"/>')
    parts.append(f'<path d="M{x(limit):.1f} {top}V{low}" stroke="{_RIVAL}"/>')
    parts.append(_text(x(limit) - 6, top + 14, "target for 99 %", anchor="end"))
    return "\n".join([*parts, "</svg>", ""])


def _head(height: int, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" {_FONT} '
        f'fill="{_INK}" role="img">\n<title>{escape(title)}</title>\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'<text x="20" y="28" font-size="16">{escape(title)}</text>'
    )


def _legend() -> str:
    return (
        f'<rect x="20" y="42" width="12" height="12" fill="{_OURS}"/>{_text(38, 53, "this app")}'
        f'<rect x="120" y="42" width="12" height="12" fill="{_RIVAL}"/>'
        f"{_text(138, 53, 'the fair rival')}"
        f"{_text(_WIDTH - 20, 53, 'logarithmic scale', anchor='end')}"
    )


def _bar(y: float, length: float, colour: str, label: str) -> str:
    return (
        f'<rect x="{_LEFT}" y="{y}" width="{max(length, 1):.1f}" height="15" fill="{colour}"/>'
        f"{_text(_LEFT + length + 6, y + 12, label)}"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
