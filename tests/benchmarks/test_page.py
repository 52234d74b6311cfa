"""The generated part of docs/benchmarks.md."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed.page import BEGIN, END, render, targets, write_page
from benchmarks.speed.plots import write_plots
from tests.architecture.tree import ROOT


def _gateway(rate: float, **more: float) -> dict[str, list[float | None]]:
    values = {
        "requests/s at 1": rate / 2, "p50 ms at 1": 500 / rate, "requests/s at 16": rate, "p50 ms at 16": 16000 / rate,
        "p99 ms at 16": 48000 / rate, "streams/s": rate / 2, "first frame ms": 1.0, "stream cpu us": 100.0,
        "cpu us at 16": 1e6 / rate, "memory MB": 100.0, "open 50/s p50 ms": 1.0, "open 50/s p99 ms": 2.0,
        "failed at 16": 0.0, **more,
    }  # fmt: skip
    return {name: [value, value * 1.1, value * 0.9] for name, value in values.items()}


def _engine(rate: float) -> dict[str, list[float | None]]:
    names = ("tokens/s at 1", "tokens/s at 16", "tokens/s at 32", "prefill tokens/s", "memory MB")
    return {name: [rate] for name in (*names, *(f"first token ms at {n}" for n in (1, 16, 32)))}


def _results() -> dict[str, Any]:
    def told(name: str) -> dict[str, str]:
        return {"name": name, "version": "1", "does": "something"}

    return {
        "command": "python -m benchmarks.speed", "date": "2026-11-28", "commit": "abc", "machine": "some machine",
        "gateways": {
            "generator": "wrk", "rounds": 3, "seconds": 1.0, "streams_at_once": 10,
            "contenders": [told(name) for name in ("upstream", "Freehold", "LiteLLM")],
            "samples": {"upstream": _gateway(50000), "Freehold": _gateway(5000), "LiteLLM": _gateway(100)},
        },
        "engines": {
            "model": "small", "rounds": 1, "streams": [1, 16, 32], "tokens": 64,
            "served_by": {"Freehold, auto": {"openvino": 9, "llamacpp": 1}},
            "contenders": [told(name) for name in ("llama.cpp server (wheel)", "Freehold, auto")],
            "samples": {"llama.cpp server (wheel)": _engine(100), "Freehold, auto": _engine(290)},
        },
    }  # fmt: skip


def test_targets_are_told_with_their_outcome() -> None:
    """A target that is reached is met, one that is not is missed, and one without figures is left out."""
    rows = targets(_results())
    outcome = {row.split("|")[1].split(":")[0].strip(): row.split("|")[-2].strip() for row in rows}
    assert outcome["requests/s, 16 connections"] == "met"
    assert outcome["requests/s against LiteLLM"] == "met"
    assert outcome["`auto` against llama.cpp server (wheel), tokens/s at 16"] == "met"
    assert outcome["`auto` against llama.cpp server (wheel), tokens/s at 32"] == "missed"
    assert not any("Portkey" in row for row in rows)


def test_a_request_that_failed_is_told() -> None:
    """Failures stand in the page with who failed and how often; without one it says so."""
    results = _results()
    assert "No request failed" in render(results)
    results["gateways"]["samples"]["LiteLLM"]["failed at 16"] = [0.0, 3.0, 1.0]
    assert "- LiteLLM: failed at 16: 4" in render(results)


def test_who_served_is_told() -> None:
    """Which engine served a deployment's requests stands in the page, as the receipts say."""
    assert "requests to Freehold, auto were served by: openvino 9, llamacpp 1." in render(_results())


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    """Only what stands between the marks is replaced, however often, and a page without them is an error."""
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_page(page, _results())
    once = page.read_text(encoding="utf-8")
    write_page(page, _results())
    assert page.read_text(encoding="utf-8") == once
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert "stale" not in once
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(SystemExit, match="no place for the results"):
        write_page(page, _results())


def test_the_page_of_the_documentation_has_its_marks() -> None:
    """docs/benchmarks.md has the place that the program writes."""
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1


def test_plots_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    """The plots have their contenders' names as text, and do not change without the results."""
    write_plots(tmp_path / "one", _results())
    write_plots(tmp_path / "two", _results())
    for name in ("gateways.svg", "engines.svg"):
        text = (tmp_path / "one" / name).read_text(encoding="utf-8")
        assert text == (tmp_path / "two" / name).read_text(encoding="utf-8")
        assert "Freehold" in text
