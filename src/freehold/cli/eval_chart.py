"""What runs of an evaluation came to, as a picture: a mean and its interval for each model and criterion (SVG)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from xml.sax.saxutils import escape

_WIDTH: Final = 640
_LEFT: Final = 230
_RIGHT: Final = 74
_TOP: Final = 46
_ROW: Final = 26
_TICKS: Final = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLOURS: Final = ("#3b6fb6", "#c2571a", "#3d8b40", "#8a4fae", "#9a7d0a", "#b03060")
_STYLE: Final = """<style>
  svg { background: #ffffff; font: 12px sans-serif; }
  text { fill: #24292f; } .faint { fill: #57606a; } .line { stroke: #d0d7de; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .faint { fill: #9198a1; } .line { stroke: #3d444d; }
  }
</style>"""


def chart_of(title: str, reports: Sequence[Mapping[str, Any]]) -> bytes:
    """A row for each criterion of each run: its mean as a dot, and the 95 % interval as a line.

    Args:
        title: stands above.
        reports: of the runs, as the API's reports have them.
    """
    models = list(dict.fromkeys(_model(report) for report in reports))
    rows = [
        (criterion["name"], _model(report), criterion["score"])
        for name in dict.fromkeys(each["name"] for report in reports for each in report["criteria"])
        for report in reports
        for criterion in report["criteria"]
        if criterion["name"] == name and criterion["score"] is not None
    ]
    bottom = _TOP + _ROW * len(rows)
    height = bottom + 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title>",
        _STYLE,
        f'<text x="12" y="22" font-size="14" font-weight="bold">{escape(_short(title, 80))}</text>',
        f'<text class="faint" x="{_WIDTH - 12}" y="22" text-anchor="end">mean and 95 % interval</text>',
    ]
    for tick in _TICKS:
        x = _x(tick)
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{bottom}"/>')
        parts.append(f'<text class="faint" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for place, (criterion, model, score) in enumerate(rows):
        colour = _COLOURS[models.index(model) % len(_COLOURS)]
        parts += _row(f"{criterion}: {model}", score, _TOP + _ROW * place + _ROW / 2, colour)
    return "\n".join([*parts, "</svg>"]).encode()


def _row(label: str, score: Mapping[str, Any], y: float, colour: str) -> list[str]:
    low, mean, high = (min(1.0, max(0.0, float(score[name]))) for name in ("low", "mean", "high"))
    return [
        f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(_short(label, 34))}</text>',
        f'<line x1="{_x(low):.1f}" x2="{_x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>',
        f'<circle cx="{_x(mean):.1f}" cy="{y}" r="5" fill="{colour}"/>',
        f'<text x="{_WIDTH - 12}" y="{y + 4}" text-anchor="end">{mean:.3f}</text>',
    ]


def _model(report: Mapping[str, Any]) -> str:
    return str(report["model"] or "(given answers)")


def _x(value: float) -> float:
    return _LEFT + value * (_WIDTH - _LEFT - _RIGHT)


def _short(text: str, most: int) -> str:
    """The text, cut in its middle where it is too long: both ends of a fine-tuned model's name tell something."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"
