"""The picture of what runs of an evaluation came to."""

from typing import Any
from xml.etree import ElementTree as ET

from freehold.cli.eval_chart import chart_of

SVG = "{http://www.w3.org/2000/svg}"


def report(model: str, mean: float, low: float, high: float) -> dict[str, Any]:
    score = {"mean": mean, "low": low, "high": high, "count": 60}
    return {"model": model, "criteria": [{"name": "right", "score": score}, {"name": "unasked", "score": None}]}


def test_a_better_model_stands_further_to_the_right() -> None:
    """Each model has a dot at its mean within its interval, in one scale; a criterion without numbers has none."""
    drawn = ET.fromstring(chart_of("tickets", [report("chat", 0.25, 0.2, 0.3), report("ft", 0.75, 0.5, 1.0)]))  # noqa: S314  # what we have just drawn
    dots = [float(each.attrib["cx"]) for each in drawn.iter(f"{SVG}circle")]
    lines = [each.attrib for each in drawn.iter(f"{SVG}line") if "stroke" in each.attrib]
    assert len(dots) == len(lines) == 2
    assert dots[0] < dots[1]
    for dot, line in zip(dots, lines, strict=True):
        assert float(line["x1"]) < dot < float(line["x2"])
    assert dots[1] - dots[0] == (float(lines[1]["x2"]) - float(lines[1]["x1"]))


def test_names_are_texts_and_nothing_else() -> None:
    """Markup in a title or a model's name stays text, and a long name is cut in its middle."""
    name = "<script>alert(1)</script>" + "x" * 60 + "end"
    drawn = ET.fromstring(chart_of("a & <b>", [report(name, 0.5, 0.4, 0.6)]))  # noqa: S314  # what we have just drawn
    assert not list(drawn.iter(f"{SVG}script"))
    texts = [each.text or "" for each in drawn.iter(f"{SVG}text")]
    assert "a & <b>" in texts
    assert any(each.startswith("right: <scr") and "…" in each and each.endswith("end") for each in texts)
