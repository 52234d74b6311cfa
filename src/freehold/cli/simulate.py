"""`freehold simulate`: what a cluster would do, before anything is bought."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from freehold.cli.lazy import command_group
from freehold.cli.options import JsonOption
from freehold.cli.output import ExitCode, print_json, print_note
from freehold.cli.tables import print_table
from freehold.errors import ConfigError
from freehold.simulation.chart import chart_of
from freehold.simulation.scenario import BUILT_IN, Scenario, built_in_text, load_scenario
from freehold.simulation.trial import simulate as run_one
from freehold.simulation.trial import simulate_many, summary_of

app = command_group()

_EPILOG: Final = """\b
Examples:
  freehold simulate department
  freehold simulate department --write department.toml
  freehold simulate department.toml --seeds 20
  freehold simulate supercomputer --plot supercomputer.svg"""
_FIGURES: Final = (
    ("requests.api.wait_s.p95", "API: wait p95, s"),
    ("requests.api.first_token_s.p95", "API: first token p95, s"),
    ("requests.product.wait_s.p95", "product: wait p95, s"),
    ("requests.product.first_token_s.p95", "product: first token p95, s"),
    ("jobs.wait_s.p95", "research: wait p95, s"),
    ("utilization.api", "used by API"),
    ("utilization.product", "used by product"),
    ("utilization.research", "used by research"),
    ("fairness.jain", "fairness"),
    ("jobs.preempted", "preemptions"),
    ("jobs.lost_unit_h", "lost work, h"),
)


@app.command(epilog=_EPILOG)
def simulate(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO", help=f"A TOML file, or one of {', '.join(BUILT_IN)}.")
    ] = "department",
    seed: Annotated[int | None, typer.Option(help="Of all that is left to chance. [default: the scenario's]")] = None,
    seeds: Annotated[
        int,
        typer.Option(min=1, max=100_000, help="Run with so many seeds, from --seed on, and tell mean and extremes."),
    ] = 1,
    hours: Annotated[float | None, typer.Option(min=0.01, help="How long. [default: the scenario's]")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw what happened over time into this file.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Look after every event if all invariants hold; much slower.")
    ] = False,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write", metavar="FILE.toml", help="Write a built-in scenario there, to be changed; run nothing."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Simulate a cluster: its machines, deployments, callers, jobs and failures.

    Time, machines, engines and callers are simulated; who is admitted, who waits for which replica, who gets machines
    and who makes room is decided by the service's own code. The same scenario and seed give the same result.
    """
    if write is not None:
        _write(scenario, write)
        return
    given = load_scenario(scenario)
    if hours is not None:
        given = given.model_copy(update={"hours": hours})
    first = given.seed if seed is None else seed
    if seeds > 1:
        _many(given, range(first, first + seeds), plot, check=check, as_json=as_json)
        return
    report = run_one(given, first, check=check)
    if plot is not None:
        _draw(report, plot)
    if as_json:
        print_json(report)
    else:
        _print(report)
    _stop_on(report.get("violations", ()), as_json=as_json)


def _many(given: Scenario, seeds: range, plot: Path | None, *, check: bool, as_json: bool) -> None:
    """Run with several seeds.

    Raises:
        typer.BadParameter: a picture is wanted too.
    """
    if plot is not None:
        raise typer.BadParameter("a picture is of one seed; leave out --seeds", param_hint="--plot")
    reports = []
    for report in simulate_many(given, seeds, check=check, processes=len(os.sched_getaffinity(0))):
        reports.append(report)
        if len(reports) % 10 == 0 and len(reports) < len(seeds):
            print_note(f"{len(reports)} of {len(seeds)} seeds have run")
    summary = summary_of(reports)
    if as_json:
        print_json(summary)
    else:
        print(f"{given.name}, {given.hours:g} h, {len(seeds)} seeds from {seeds[0]}")
        print()
        rows = [
            (name, *(_figure(summary["figures"][path][which]) for which in ("mean", "least", "most")))
            for path, name in _FIGURES
            if path in summary["figures"]
        ]
        print_table(("", "mean", "least", "most"), rows)
    _stop_on(summary["violations"], as_json=as_json)


def _write(scenario: str, file: Path) -> None:
    """Write a built-in scenario to a file of the user's own.

    Raises:
        ConfigError: there is no such scenario, or there is a file.
    """
    if scenario not in BUILT_IN:
        raise ConfigError(f"'{scenario}' does not come with the program; there are {', '.join(BUILT_IN)}")
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(built_in_text(scenario))
    except FileExistsError as exc:
        raise ConfigError(f"{file}: exists already; give another name") from exc
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be written: {exc.strerror}") from exc
    print_note(f"Written to {file}. Change it, and run 'freehold simulate {file}'.")


def _draw(report: Mapping[str, Any], file: Path) -> None:
    """Write the picture.

    Raises:
        ConfigError: that is not possible.
    """
    try:
        file.write_bytes(chart_of(report))
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be written: {exc.strerror}") from exc


def _stop_on(violations: Sequence[str], *, as_json: bool) -> None:
    """End with an error where an invariant did not hold."""
    if violations:
        if not as_json:
            for each in violations:
                print_note(f"violated: {each}")
        raise typer.Exit(ExitCode.FAILED)


def _print(report: Mapping[str, Any]) -> None:
    """A report for people: who used what, how long everybody waited, what was refused, lost and earned."""
    cluster, jobs = report["cluster"], report["jobs"]
    print(
        f"{report['scenario']}, {report['hours']:g} h, seed {report['seed']}: {cluster['nodes']:,} nodes, "
        f"{cluster['units']:,.0f} {cluster['unit']}; {cluster['node_failures']} node failures, "
        f"{cluster['outages']} outages of a zone"
    )
    print()
    print_table(("class", "in use", "came", "finished", "refused", "broken", "left", *_WAITS), _by_class(report))
    print()
    print_table(
        ("deployment", "class", "replicas", "most", "requests", "tokens/s"),
        [
            (name, of["class"], f"{of['replicas']['mean']:.1f}", of["replicas"]["most"], f"{of['requests']:,}",
             f"{of['completion_tokens_s']:,.0f}")
            for name, of in report["deployments"].items()
        ],
    )  # fmt: skip
    if report["refusals"]:
        print()
        print_table(("refused because of", "requests"), [(why, f"{n:,}") for why, n in report["refusals"].items()])
    if jobs["submitted"]:
        print()
        print(
            f"Jobs: {jobs['finished']} finished, {jobs['running']} run, {jobs['waiting']} wait, "
            f"{jobs['never_placed']} can never run; {jobs['preempted']} made room, "
            f"{jobs['checkpoint_too_slow']} of them too slowly; {jobs['node_lost']} lost a node. "
            f"{jobs['worked_unit_h']:,.0f} {cluster['unit'].removesuffix('s')}-hours of work done, "
            f"{jobs['lost_unit_h']:,.1f} lost, {jobs['overhead_unit_h']:,.1f} spent on starts and checkpoints."
        )
        served = ", ".join(f"{name} {share:.0%}" for name, share in report["fairness"]["served"].items())
        print(f"Fairness (Jain): {report['fairness']['jain']:.3f}. Of what each was due it got: {served}.")
    if report["money"]:
        print("Charged: " + ", ".join(f"{name} {amount}" for name, amount in report["money"].items()) + ".")
    for name, why in report["never_placed"].items():
        print(f"Never placed: {name}: {why}")


_WAITS: Final = ("wait p50", "p95", "p99", "first token p50", "p95", "p99")
_REFUSED: Final = ("rate_limited", "over_budget", "overloaded", "unavailable")


def _by_class(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for name, of in report["requests"].items():
        refused = sum(of[outcome] for outcome in _REFUSED)
        counts = (of["arrived"], of["finished"], refused, of["broken"], of["gave_up"])
        waits = (*_seconds(of["wait_s"]), *_seconds(of["first_token_s"]))
        rows.append((name, f"{report['utilization'].get(name, 0):.0%}", *(f"{each:,}" for each in counts), *waits))
    jobs = report["jobs"]
    waits = (*_seconds(jobs["wait_s"]), "-", "-", "-")
    of_jobs = (f"{jobs[key]:,}" for key in ("submitted", "finished", "never_placed", "node_lost"))
    rows.append(("research", f"{report['utilization'].get('research', 0):.0%}", *of_jobs, "-", *waits))
    return rows


def _seconds(percentiles: Mapping[str, float] | None) -> tuple[str, ...]:
    return ("-", "-", "-") if percentiles is None else tuple(_time(value) for value in percentiles.values())


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.2f} s"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
