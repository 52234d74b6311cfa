"""The chart of a job's metrics is a picture that anybody can read: titled, labelled, in light and dark."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from freehold.gateway.tuning_chart import chart_of

NAME = "ft:tiny:proj:a<b&c:1234"


def texts(chart: bytes) -> list[str]:
    """What is written in a chart."""
    root = ET.fromstring(chart)  # noqa: S314 - it is our own
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_chart_has_title_axes_and_legend() -> None:
    """Its title is the model's name, its axes have round numbers and names, its lines their names."""
    steps = [{"step": n, "train_loss": 4.1 / n, "valid_loss": 3 / n if n % 4 == 0 else None} for n in range(1, 41)]
    found = texts(chart_of(NAME, steps))
    assert found[0] == NAME
    assert {"Loss", "training", "validation, a sample", "training step", "mean loss"} <= set(found)
    assert {"0", "1", "2", "3", "4", "5", "10", "20", "40"} <= set(found)
    assert "Accuracy and reward" not in found


def test_lines_stay_within_their_diagram() -> None:
    """Every point lies between the axes, whatever the numbers are; what is no number is left out."""
    losses = (-0.3, 1e-9, 12.75, float("nan"), 7.0)
    steps = [{"step": n, "train_loss": loss, "train_mean_reward": 0.5} for n, loss in enumerate(losses, 7)]
    chart = chart_of(NAME, steps).decode()
    loss, reward = (
        [tuple(map(float, point.split(","))) for point in line.split()]
        for line in re.findall(r'<polyline[^>]* points="([^"]*)"', chart)
    )
    assert (len(loss), len(reward)) == (4, 5)
    low, high = (float(each) for each in re.findall(r'class="axis" d="M76 (\d+)V(\d+)', chart)[0])
    assert all(76 <= x <= 796 and low <= y <= high for x, y in loss)


@pytest.mark.parametrize("steps", [[], [{"step": 1, "train_loss": 0.0}], [{"step": 5, "train_mean_reward": 1.0}]])
def test_few_steps_are_drawn_too(steps: list[dict[str, Any]]) -> None:
    """A job with one step, or with none, has a chart as well; one step is a point."""
    chart = chart_of(NAME, steps)
    assert texts(chart)[0] == NAME
    assert chart.count(b"<circle") == len(steps)


def test_a_chart_suits_light_and_dark_and_refers_to_nothing() -> None:
    """Its colours follow the reader's preference; no script, font or address is in it but the namespace."""
    chart = chart_of(NAME, [{"step": 1, "train_loss": 1.0}]).decode()
    assert "@media (prefers-color-scheme:dark)" in chart
    assert re.findall(r"https?://[^\"]*", chart) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in chart
