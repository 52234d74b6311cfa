"""The generated part of docs/benchmarks.md: tables, and the plots beside it, from a file of results."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.speed.rounds import Samples, Summary

BEGIN: Final = "<!-- begin: written by python -m benchmarks.speed -->"
END: Final = "<!-- end: written by python -m benchmarks.speed -->"
FREEHOLD: Final = "Freehold"
Results = Mapping[str, Any]


def write_page(page: Path, results: Results) -> None:
    """Put the generated part between its markers.

    Raises:
        SystemExit: the page has no such place.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no place for the results: the lines '{BEGIN}' and '{END}'")
    page.write_text(f"{before}{BEGIN}\n\n{render(results)}\n{END}{after}", encoding="utf-8")


def render(results: Results) -> str:
    """The generated part, as Markdown."""
    lines = [
        f"`{results['command']}`, {results['date']}, commit {results['commit']}. Every sample is in",
        "[results.json](benchmarks/results.json).",
        "",
        f"Machine: {results['machine']}.",
        "",
        "Contenders are measured in turn, several rounds; figures are medians, with the least and the greatest round",
        "in parentheses. Ratios are medians of the quotients of one round's two figures.",
    ]
    met = targets(results)
    if met:
        lines += ["", "| target | measured | |", "|---|---|---|", *met]
    if "gateways" in results:
        lines += ["", *_gateways(results["gateways"])]
    if "engines" in results:
        lines += ["", *_engines(results["engines"])]
    return "\n".join(lines) + "\n"


def _samples(part: Results) -> Samples:
    return Samples({name: dict(measures) for name, measures in part["samples"].items()})


def _gateways(part: Results) -> list[str]:
    samples, names = _samples(part), [each["name"] for each in part["contenders"]]
    rates = sorted({int(m.split()[1].removesuffix("/s")) for m in samples.values[names[0]] if m.startswith("open ")})
    return [
        "### Gateways",
        "",
        "Each is one process before the same upstream, which answers at once. Closed loops are driven by",
        f"{part['generator']}, {part['seconds']:g} s a figure, {part['rounds']} rounds. Streams have 32 pieces",
        f"of text, {part['streams_at_once']} run at a time, and each is checked for its whole text. Memory is that of",
        "a gateway and the processes that it starts: of Freehold also its echo engine.",
        "",
        "![Requests and streams a second](benchmarks/gateways.svg)",
        "",
        *_table(
            samples,
            names,
            {
                "requests/s, 16 connections": ("requests/s at 16", _whole),
                "requests/s, 1 connection": ("requests/s at 1", _whole),
                "p50, 1 connection, ms": ("p50 ms at 1", _small),
                "p50, 16 connections, ms": ("p50 ms at 16", _small),
                "p99, 16 connections, ms": ("p99 ms at 16", _small),
            },
        ),
        "",
        *_table(
            samples,
            [name for name in names if samples.of(name, "streams/s")],
            {
                "streams/s": ("streams/s", _whole),
                "first frame, ms": ("first frame ms", _small),
                "processor time a stream, µs": ("stream cpu us", _whole),
                "processor time a request, µs": ("cpu us at 16", _whole),
                "memory, MB": ("memory MB", _whole),
            },
        ),
        "",
        *(_open_loops(samples, names, rates) if rates else ()),
        *_ratios(samples, names),
        "",
        *_failures(samples, names),
        "",
        "What is on in each:",
        "",
        *(_does(each) for each in part["contenders"]),
    ]


def _open_loops(samples: Samples, names: Sequence[str], rates: Sequence[int]) -> list[str]:
    """What fixed rates came to, with a blank line at the end."""
    columns = {
        f"{rate}/s, {share}, ms": (f"open {rate}/s {share} ms", _small) for rate in rates for share in ("p50", "p99")
    }
    return [
        "Open loop: requests are sent at a fixed rate whatever the gateway does, and their time runs from when they",
        "were due. A rate above 90 % of what the closed loop reached is not tried.",
        "",
        *_table(samples, names, columns),
        "",
    ]


def _ratios(samples: Samples, names: Sequence[str]) -> list[str]:
    """Freehold against each other gateway."""
    measures = {"requests/s, 16 connections": "requests/s at 16", "requests/s, 1 connection": "requests/s at 1",
                "streams/s": "streams/s"}  # fmt: skip
    others = [name for name in names if not name.startswith(FREEHOLD) and name != "upstream"]
    lines = ["| Freehold against | " + " | ".join(measures) + " |", "|---" * (1 + len(measures)) + "|"]
    for other in others:
        cells = [_cell(samples.ratio(FREEHOLD, other, measure), _times) for measure in measures.values()]
        lines.append(f"| {other} | " + " | ".join(cells) + " |")
    return [*lines, "", f"Freehold adds {_cell(_added(samples), _small)} ms to the median at one connection."]


def _failures(samples: Samples, names: Sequence[str]) -> list[str]:
    """What went wrong; a line that says that nothing did."""
    found = {
        (name, measure): math.fsum(samples.of(name, measure))
        for name in names
        for measure in samples.values[name]
        if "failed" in measure and any(samples.of(name, measure))
    }
    if not found:
        return ["No request failed, and no stream lost a piece of its text."]
    return [f"- {name}: {measure}: {count:.0f}" for (name, measure), count in found.items()]


def _engines(part: Results) -> list[str]:
    samples, names = _samples(part), [each["name"] for each in part["contenders"]]
    lines = [
        "### Engines",
        "",
        f"{part['model']}, Q4_1, greedy, {part['tokens']} tokens a stream, every stream of the same length with a",
        f"prompt of its own; {part['rounds']} rounds. Times run from the request to the last byte. A prompt of 1,500",
        "tokens that nobody has seen is read alone. Memory is that of the server and its engine processes.",
        "",
        "![Tokens a second](benchmarks/engines.svg)",
        "",
        *_table(
            samples,
            names,
            {f"tokens/s, {n} stream{'s' if n > 1 else ''}": (f"tokens/s at {n}", _whole) for n in part["streams"]}
            | {"prefill, tokens/s": ("prefill tokens/s", _whole), "memory, MB": ("memory MB", _whole)},
        ),
        "",
    ]
    measures = [*(f"tokens/s at {n}" for n in part["streams"]), "prefill tokens/s"]
    others = [name for name in names if name.startswith("llama.cpp")]
    ours = [name for name in names if name.startswith(FREEHOLD)]
    if others:
        lines += ["| | " + " | ".join(measures) + " |", "|---" * (1 + len(measures)) + "|"]
        for own in ours:
            for other in others:
                cells = [_cell(samples.ratio(own, other, measure), _times) for measure in measures]
                lines.append(f"| {own} against {other} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += [f"First token with {n} at once, ms: " + "; ".join(
        f"{name} {_cell(samples.summary(name, f'first token ms at {n}'), _whole)}" for name in names) + "."
        for n in part["streams"]]  # fmt: skip
    for name, served in part["served_by"].items():
        told = ", ".join(f"{engine} {count}" for engine, count in served.items())
        lines.append(f"By the receipts, requests to {name} were served by: {told}.")
    lines += ["", "What runs:", "", *(_does(each) for each in part["contenders"])]
    return lines


def targets(results: Results) -> list[str]:
    """A row for each target of which there are figures: what was to be, what is, and whether it is met."""
    rows = []
    if "gateways" in results:
        of = _samples(results["gateways"])
        p99 = [a / b for a, b in zip(of.of(FREEHOLD, "p99 ms at 16"), of.of(FREEHOLD, "p50 ms at 16"), strict=True)]
        rows += [
            _target("requests/s, 16 connections", of.summary(FREEHOLD, "requests/s at 16"), 4000, _whole),
            _target("added at 1 connection, ms", _added(of), 0.6, _small, most=True),
            _target("streams/s", of.summary(FREEHOLD, "streams/s"), 1500, _whole),
            _target("p99 by p50, 16 connections", Summary.of(p99), 5, _times, most=True),
            _target("requests/s against LiteLLM", of.ratio(FREEHOLD, "LiteLLM", "requests/s at 16"), 40, _times),
            _target("streams/s against LiteLLM", of.ratio(FREEHOLD, "LiteLLM", "streams/s"), 40, _times),
        ]
        rows += [
            _target(f"requests/s against {name}", of.ratio(FREEHOLD, name, "requests/s at 16"), 4, _times)
            for name in of.values
            if name.startswith("Portkey")
        ]
    if "engines" in results:
        of, fast = _samples(results["engines"]), f"{FREEHOLD}, auto"
        wanted = {"tokens/s at 1": 1.0, "tokens/s at 16": 2.5, "tokens/s at 32": 3.0, "prefill tokens/s": 4.0}
        rows += [
            _target(f"`auto` against {name}, {measure}", of.ratio(fast, name, measure), least, _times)
            for name in of.values
            if name.startswith("llama.cpp")
            for measure, least in wanted.items()
        ]
    return [row for row in rows if row]


def _target(
    name: str, found: Summary | None, bound: float, style: Callable[[float], str], *, most: bool = False
) -> str:
    if found is None:
        return ""
    met = found.median <= bound if most else found.median >= bound
    word = "at most" if most else "at least"
    return f"| {name}: {word} {style(bound)} | {_cell(found, style)} | {'met' if met else 'missed'} |"


def _added(samples: Samples) -> Summary | None:
    """What Freehold adds to the upstream's median, one at a time, in milliseconds."""
    pairs = zip(samples.of(FREEHOLD, "p50 ms at 1"), samples.of("upstream", "p50 ms at 1"), strict=True)
    return Summary.of([through - alone for through, alone in pairs])


def _does(each: Mapping[str, str]) -> str:
    version = f" ({each['version']})" if each["version"] else ""
    return f"- {each['name']}{version}: {each['does']}."


def _table(
    samples: Samples, names: Sequence[str], columns: Mapping[str, tuple[str, Callable[[float], str]]]
) -> list[str]:
    """A row for each contender."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" + "|--:" * len(columns) + "|"]
    for name in names:
        cells = [_cell(samples.summary(name, measure), style) for measure, style in columns.values()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _cell(found: Summary | None, style: Callable[[float], str]) -> str:
    if found is None:
        return "-"
    return f"{style(found.median)} ({style(found.low)} to {style(found.high)})"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _small(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _times(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"
