"""`freehold simulate`."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.program import Program


def test_a_person_reads_tables(program: Program) -> None:
    """Without --json there is a line about the cluster, and a table of classes and of deployments."""
    told = program.fine("simulate", "laptop", "--hours", "0.5")
    assert "laptop, 0.5 h, seed 1: 1 nodes, 2 cores" in told
    assert "FIRST TOKEN P50" in told
    assert "DEPLOYMENT" in told
    assert "Charged: home" in told


@pytest.mark.slow
def test_the_same_seed_gives_the_same(program: Program) -> None:
    """Two runs with one seed are equal to the last figure, however Python hashes names; another seed differs."""
    args = ("simulate", "department", "--hours", "0.5", "--seed")
    first = program.with_env(PYTHONHASHSEED="1").json(*args, "7")
    assert first == program.with_env(PYTHONHASHSEED="2").json(*args, "7")
    assert first != program.json(*args, "8")


def test_several_seeds_are_summed_up(program: Program) -> None:
    """With --seeds there are the mean and the extremes of each figure; a picture is of one seed."""
    told = program.fine("simulate", "laptop", "--hours", "0.2", "--seeds", "3", "--check")
    assert "3 seeds from 1" in told
    assert "LEAST" in told
    assert "leave out --seeds" in program.refused(2, "simulate", "laptop", "--seeds", "3", "--plot", "x.svg")


def test_a_picture_is_drawn(program: Program, tmp_path: Path) -> None:
    """With --plot there is an SVG file with the three bands and the deployments' names."""
    file = tmp_path / "laptop.svg"
    program.fine("simulate", "laptop", "--hours", "0.2", "--plot", str(file))
    texts = [element.text for element in ET.parse(file).iter() if element.text]  # noqa: S314  # we made it
    assert {"cores in use", "requests that wait", "replicas that serve", "api"} <= set(texts)
    assert "cannot be written" in program.refused(2, "simulate", "laptop", "--hours", "0.1", "--plot", str(tmp_path))


def test_a_scenario_can_be_written_and_changed(program: Program, tmp_path: Path) -> None:
    """--write gives the file of a built-in scenario, which runs; a file that is there is not touched."""
    file = tmp_path / "mine.toml"
    program.fine("simulate", "laptop", "--write", str(file))
    assert "laptop, 0.1 h" in program.fine("simulate", str(file), "--hours", "0.1")
    assert "exists already" in program.refused(2, "simulate", "laptop", "--write", str(file))
    assert "does not come with the program" in program.refused(2, "simulate", "yacht", "--write", str(tmp_path / "x"))
    assert "neither a file nor" in program.refused(2, "simulate", "yacht")
