"""Draw line and bar charts over days as one SVG picture with stacked panels."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 860, 64, 36, 46, 24  # pixels
GRID, INK, SOFT = "#e5e7eb", "#1f2937", "#6b7280"


@dataclass(frozen=True, kw_only=True)
class Series:
    """A line or a set of bars, with one value per day."""

    name: str
    values: np.ndarray
    color: str
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Chart of lines, or of bars side by side from zero; `height` is that of the plot area in pixels."""

    title: str
    height: int
    lines: Sequence[Series] = ()
    bars: Sequence[Series] = ()


def picture(dates: np.ndarray, panels: Sequence[Panel]) -> str:
    """Return the picture as SVG text; `dates` and the values of every series have the shape (days,)."""
    heights = [TOP + panel.height + BOTTOM for panel in panels]
    tops = np.cumsum([0, *heights])
    drawn = [part for panel, top in zip(panels, tops, strict=False) for part in _panel(dates, panel, int(top) + TOP)]
    titles = escape("; ".join(panel.title for panel in panels))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tops[-1]}" role="img" '
            f'font-family="system-ui, sans-serif" font-size="12">',
            f"<title>{titles}</title>",
            f'<rect width="{WIDTH}" height="{tops[-1]}" fill="white"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(dates: np.ndarray, panel: Panel, top: int) -> list[str]:
    series = [*panel.lines, *panel.bars]
    low = 0.0 if panel.bars else float(min(each.values.min() for each in series))
    high = float(max(each.values.max() for each in series))
    step = (WIDTH - LEFT - RIGHT) / len(dates)
    across = LEFT + step * (np.arange(len(dates)) + 0.5)

    def down(values: np.ndarray) -> np.ndarray:
        return top + panel.height * (1 - (values - low) / (high - low))

    parts = [_text(LEFT, top - 28, panel.title, INK, weight="bold"), *_legend(series, top - 10)]
    for level in _levels(low, high):
        y = float(down(np.array(level)))
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 6, y + 4, f"{level:,.0f}", SOFT, anchor="end"))
    shown, foot = np.linspace(0, len(dates) - 1, 6).astype(int), top + panel.height + 16
    parts.extend(_text(across[index], foot, str(dates[index]), SOFT, anchor="middle") for index in shown)
    for each in panel.lines:
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, down(each.values), strict=True))
        dash = ' stroke-dasharray="5 4"' if each.dashed else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{each.color}" stroke-width="1.8"{dash}/>')
    for place, each in enumerate(panel.bars):
        wide = 0.8 * step / len(panel.bars)
        for x, y in zip(across - 0.4 * step + place * wide, down(each.values), strict=True):
            tall = top + panel.height - y
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{tall:.1f}" fill="{each.color}"/>')
    return parts


def _levels(low: float, high: float) -> list[float]:
    """Return three to seven round numbers within the range."""
    rough = (high - low) / 4
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    return [float(level) for level in np.arange(np.ceil(low / step) * step, high + step / 1000, step)]


def _legend(series: Sequence[Series], y: float) -> list[str]:
    parts, x = [], float(LEFT)
    for each in series:
        dash = ' stroke-dasharray="5 4"' if each.dashed else ""
        parts.append(f'<path d="M{x:.0f} {y - 4:.0f}h22" stroke="{each.color}" stroke-width="3"{dash}/>')
        parts.append(_text(x + 28, y, each.name, INK))
        x += 50 + 6.6 * len(each.name)
    return parts


def _text(x: float, y: float, words: str, color: str, *, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} fill="{color}" font-weight="{weight}">{escape(words)}</text>'
