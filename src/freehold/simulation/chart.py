"""What a simulation came to over its time, as a picture: three bands above each other (SVG)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

_WIDTH: Final = 720
_LEFT: Final = 64
_RIGHT: Final = 16
_TOP: Final = 40
_BAND: Final = 120
_GAP: Final = 44
_COLOURS: Final = {"api": "#3b6fb6", "product": "#c2571a", "research": "#3d8b40"}
_LINES: Final = ("#3b6fb6", "#c2571a", "#3d8b40", "#8a4fae", "#9a7d0a", "#b03060")
_MOST_LINES: Final = 6
_STYLE: Final = """<style>
  svg { background: #ffffff; font: 12px sans-serif; }
  text { fill: #24292f; } .faint { fill: #57606a; } .line { stroke: #d0d7de; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .faint { fill: #9198a1; } .line { stroke: #3d444d; }
  }
</style>"""
Points = Sequence[tuple[float, float]]


def chart_of(report: Mapping[str, Any]) -> bytes:
    """Who used the cluster, how many requests waited, and how many replicas served, over the time of a report."""
    series = report["series"]
    hours = [sample["at_s"] / 3600 for sample in series]
    unit = report["cluster"]["unit"]
    height = _TOP + 3 * (_BAND + _GAP)
    title = f"{report['scenario']}, seed {report['seed']}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        _STYLE,
        f'<text x="12" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    parts += _stacked(series, hours, _TOP + 14, f"{unit} in use")
    waiting = {"waiting": [float(sample["requests_waiting"]) for sample in series]}
    parts += _lined(hours, _TOP + 14 + _BAND + _GAP, "requests that wait", waiting)
    names = list(report["deployments"])[:_MOST_LINES]
    replicas = {name: [float(sample["replicas"].get(name, 0)) for sample in series] for name in names}
    parts += _lined(hours, _TOP + 14 + 2 * (_BAND + _GAP), "replicas that serve", replicas)
    return "\n".join([*parts, "</svg>"]).encode()


def _stacked(series: Sequence[Mapping[str, Any]], hours: Sequence[float], top: float, title: str) -> list[str]:
    """What each class uses, one on the other, under a line for all that there is."""
    most = max((sample["total"] for sample in series), default=0) or 1
    parts = _frame(top, title, most, hours, list(_COLOURS.items()))
    below = [0.0] * len(series)
    for name, colour in _COLOURS.items():
        above = [lower + sample[name] for lower, sample in zip(below, series, strict=True)]
        edge = [*zip(hours, above, strict=True), *reversed([*zip(hours, below, strict=True)])]
        points = _points(edge, hours[-1], most, top)
        parts.append(f'<polygon points="{points}" fill="{colour}" fill-opacity="0.75"/>')
        below = above
    total = _points([(hour, sample["total"]) for hour, sample in zip(hours, series, strict=True)], hours[-1], most, top)
    parts.append(f'<polyline points="{total}" fill="none" stroke="#8a8f98" stroke-width="1.5"/>')
    return parts


def _lined(hours: Sequence[float], top: float, title: str, lines: Mapping[str, Sequence[float]]) -> list[str]:
    most = max((max(values) for values in lines.values()), default=0) or 1
    names = [(name, _LINES[index % len(_LINES)]) for index, name in enumerate(lines)]
    parts = _frame(top, title, most, hours, names if len(names) > 1 else [])
    for (name, values), (_, colour) in zip(lines.items(), names, strict=True):
        points = _points(list(zip(hours, values, strict=True)), hours[-1], most, top)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5">')
        parts.append(f"<title>{escape(name)}</title></polyline>")
    return parts


def _frame(top: float, title: str, most: float, hours: Sequence[float], names: Sequence[tuple[str, str]]) -> list[str]:
    """The title of a band, what its colours mean, its scale, and the hours below it."""
    parts = [f'<text x="12" y="{top - 8}">{escape(title)}</text>']
    x: float = _WIDTH - _RIGHT
    for name, colour in reversed(names):
        x -= 7 * len(name) + 22
        parts.append(f'<rect x="{x}" y="{top - 17}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text class="faint" x="{x + 14}" y="{top - 8}">{escape(name)}</text>')
    for share in (0, 0.5, 1):
        y = top + _BAND * (1 - share)
        parts.append(f'<line class="line" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="faint" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:g}</text>')
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        anchor = "end" if share == 1 else "middle"
        parts.append(
            f'<text class="faint" x="{x:.1f}" y="{top + _BAND + 16}" text-anchor="{anchor}">'
            f"{hours[-1] * share:.3g} h</text>"
        )
    return parts


def _points(points: Points, last: float, most: float, top: float) -> str:
    wide = _WIDTH - _LEFT - _RIGHT
    return " ".join(
        f"{_LEFT + wide * (hour / last if last else 0):.1f},{top + _BAND * (1 - value / most):.1f}"
        for hour, value in points
    )
