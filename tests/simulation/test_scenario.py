"""Scenarios: what comes with the program runs, and what is wrong is named."""

from pathlib import Path

import pytest

from freehold.errors import ConfigError
from freehold.simulation.report import percentiles
from freehold.simulation.scenario import BUILT_IN, built_in_text, load_scenario
from freehold.simulation.tally import jain
from freehold.simulation.trial import simulate, summary_of


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILT_IN)
def test_what_comes_with_the_program_runs(name: str) -> None:
    """Every built-in scenario runs, answers requests, and uses its machines."""
    scenario = load_scenario(name).model_copy(update={"hours": 0.02 if name == "supercomputer" else 0.5})
    report = simulate(scenario, 5)
    assert sum(of["finished"] for of in report["requests"].values()) > 0
    assert sum(report["utilization"].values()) == pytest.approx(1, abs=0.001)
    assert report["never_placed"] == {}
    for of in report["requests"].values():
        ended = sum(value for key, value in of.items() if isinstance(value, int) and key not in {"arrived", "running"})
        assert of["arrived"] == ended + of["running"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('name = "chat"', 'name = "chat"\nparalel = 3', "paralel"),
        ('deployment = "chat"', 'deployment = "chatt"', "there is no deployment 'chatt'; there are: chat"),
        ("median = 120, p95 = 600", "median = 900, p95 = 600", "median <= p95 <= most"),
        ("decode_tokens_s_full = 201", "decode_tokens_s_full = 20100", "decode_tokens_s_full must lie between"),
        ("replicas = 1", "autoscale = { min = 2, max = 1 }", "2 is more than max, 1"),
        ("hours = 8", "hours = 0", "hours"),
        ("[[node]]", "[[nodes]]", "nodes"),
        ("[[node]]", "[[node", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, before: str, after: str, told: str) -> None:
    """A wrong key or value is refused with its name, and with what would be right."""
    text = built_in_text("laptop")
    assert before in text
    file = tmp_path / "mine.toml"
    file.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_scenario(str(file))
    assert told in refused.value.message


def test_a_scenario_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A name that is no file is told with the names that there are."""
    with pytest.raises(ConfigError, match="laptop, department, supercomputer"):
        load_scenario(str(tmp_path / "absent.toml"))


def test_what_never_fits_is_told(tmp_path: Path) -> None:
    """A deployment that no node could hold is named in the report, with why."""
    file = tmp_path / "mine.toml"
    file.write_text(built_in_text("laptop").replace("needs = { cores = 2", "needs = { cores = 3"), encoding="utf-8")
    report = simulate(load_scenario(str(file)).model_copy(update={"hours": 0.1}), 1)
    assert "3 cores" in report["never_placed"]["chat"]
    assert report["requests"]["api"]["finished"] == 0


def test_fairness_is_jains_index() -> None:
    """It is 1 where all have the same, 1/n where one has everything, and 1 where there is nobody."""
    assert jain([0.5, 0.5, 0.5]) == pytest.approx(1)
    assert jain([1, 0, 0, 0]) == pytest.approx(0.25)
    assert jain([]) == 1


def test_percentiles_are_those_of_the_nearest_rank() -> None:
    """Of a hundred values the 95th is the 95th percentile; of one it is that one; of none there is none."""
    assert percentiles(list(range(100, 0, -1))) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([3.0]) == {"p50": 3, "p95": 3, "p99": 3}
    assert percentiles([]) is None


def test_seeds_are_summed_up() -> None:
    """Of several seeds the mean and the extremes of each figure are told, and every violation with its seed."""
    scenario = load_scenario("laptop").model_copy(update={"hours": 0.2})
    reports = [simulate(scenario, seed, check=True) for seed in (1, 2, 3)]
    reports[1]["violations"] = ["something"]
    summary = summary_of(reports)
    figure = summary["figures"]["requests.api.finished"]
    assert figure["least"] <= figure["mean"] <= figure["most"]
    assert figure["mean"] == pytest.approx(sum(r["requests"]["api"]["finished"] for r in reports) / 3)
    assert summary["violations"] == ["seed 2: something"]
    assert summary["figures"]["money.home"]["most"] > 0
