"""`freehold bench`: measure what this machine does."""

import math
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from freehold.cli.bench_engine import EngineSpeed, Plan, measure_engine
from freehold.cli.bench_gateway import PIECES, GatewaySpeed, measure_gateway
from freehold.cli.bench_streams import Endpoint
from freehold.cli.control import open_service
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ErrorAnswer, print_json, print_note, visible
from freehold.cli.tables import print_table
from freehold.errors import NotFound

app = command_group(
    "Measure what this machine does: how many streams a deployment holds, what the gateway costs.",
    "Example: freehold bench engine --deployment chat --streams 1,8,32",
)

_ENGINE_EPILOG = """\b
Examples:
  freehold bench engine
  freehold bench engine --deployment assistant --streams 1,8,32 --prompt-tokens 1500 --tokens 200"""


@app.command(epilog=_ENGINE_EPILOG)
def engine(
    deployment: Annotated[str, typer.Option("--deployment", "-d", help="The deployment's name or an alias.")] = "chat",
    streams: Annotated[
        str, typer.Option(metavar="N,N,…", help="How many streams at once, one number after the other.")
    ] = "1,4,16",
    prompt_tokens: Annotated[int, typer.Option(min=1, help="About how long each prompt is.")] = 256,
    tokens: Annotated[int, typer.Option(min=2, help="The longest answer.")] = 64,
    reading_speed: Annotated[
        float, typer.Option(min=0.1, help="Tokens a second at which people read; 6 are about 250 words a minute.")
    ] = 6.0,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how many streams a deployment holds: tokens a second, time to the first token, reading of prompts.

    Needs a running server. The requests are real ones of yours: they are metered, cost what the deployment costs, and
    count on limits; what is refused is told. Each has a new prompt. Beyond the numbers that are given, others are tried
    until the number of streams that a person can read along is known within a tenth.
    """
    plan = Plan(deployment, _numbers(streams), prompt_tokens, tokens, reading_speed)
    found = uvloop.run(_ask(home_of(home), plan))
    if as_json:
        print_json({"object": "bench.engine", **asdict(found)})
    else:
        _print_engine(found)


@app.command(epilog="Example: freehold bench gateway --connections 32")
def gateway(
    connections: Annotated[int, typer.Option(min=1, max=1000, help="How many requests at a time.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.2, max=600, help="How long each figure is measured.")] = 3.0,
    as_json: JsonOption = False,
) -> None:
    """Measure what the gateway itself does here: requests and streams a second, and the time that it adds.

    Starts a server of its own on a temporary home with the echo engine, which answers at once, with keys, content
    filter, metering and journal on; needs no running server, and touches no home.
    """
    found = uvloop.run(measure_gateway(connections, seconds))
    if as_json:
        print_json({"object": "bench.gateway", "stream_pieces": PIECES, **asdict(found)})
    else:
        _print_gateway(found)


def _numbers(text: str) -> tuple[int, ...]:
    """Numbers of streams, rising.

    Raises:
        typer.BadParameter: the text is not a list of such numbers.
    """
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1 or found[-1] > 1024:
        raise typer.BadParameter(f"'{text}': give numbers from 1 to 1024 with commas between, such as 1,4,16")
    return tuple(found)


async def _ask(home: Path, plan: Plan) -> EngineSpeed:
    async with open_service(home) as service:
        target = service.target
        print_note(f"Asking '{plan.deployment}' at {target.url}; this takes a while.")
        endpoint = Endpoint.of_url(target.url, target.key)
        try:
            return await measure_engine(
                endpoint, plan, lambda: print_note(f"'{plan.deployment}' is not ready; waiting for it.")
            )
        except ErrorAnswer as exc:
            if exc.http_status != HTTPStatus.NOT_FOUND:
                raise
            raise NotFound(f"{exc.message} 'freehold deployments list' has the names.") from exc


def _print_engine(found: EngineSpeed) -> None:
    """A row for each number of streams, and below what follows."""
    print_table(
        ("streams", "tokens/s", "each", "first token p50", "p95", "failed"),
        [
            (
                row.streams,
                _rate(row.tokens_per_s),
                _rate(row.each_per_s),
                _ms(row.first_p50_ms),
                _ms(row.first_p95_ms),
                row.streams - row.good,
            )
            for row in found.rows
        ],
    )
    print()
    print(f"A prompt of {found.prompt_tokens} tokens is read at {_rate(found.prefill_per_s)} tokens/s.")
    print(_holding(found))
    for row in found.rows:
        for told, count in row.errors:
            print(f"At {row.streams} streams, {count} failed: {visible(told)}")


def _holding(found: EngineSpeed) -> str:
    """What the rows say about how many people can read along."""
    speed = f"{found.plan.reading_speed:g} tokens/s"
    if found.fails_at is None:
        return f"{found.holds} streams at once grow at {speed} or faster each; try more with --streams."
    if not found.holds:
        return f"Not even one stream can be read along at {speed}."
    if found.holds == 1:
        return f"One stream can be read along at {speed}; {found.fails_at} at once cannot."
    return f"Up to {found.holds} streams at once can be read along at {speed}; {found.fails_at} cannot."


def _print_gateway(found: GatewaySpeed) -> None:
    """A row for each figure."""
    many = f"{found.connections} at a time"
    rows: list[tuple[str, Any]] = [
        (f"requests a second, {many}", f"{found.requests_per_s:,.0f}"),
        (f"a request, {many}: p50", _ms(found.p50_ms)),
        (f"a request, {many}: p99", _ms(found.p99_ms)),
        ("a request, one at a time: p50", _ms(found.alone_ms)),
        ("of that, added to the engine's own", _ms(found.added_ms)),
        (f"streams of {PIECES} pieces a second, {many}", f"{found.streams_per_s:,.0f}"),
        ("first piece of a stream: p50", _ms(found.first_piece_ms)),
    ]
    if found.memory_mb is not None:
        rows.append(("memory of the gateway's process", f"{found.memory_mb:.0f} MB"))
    print_table(("what", "measured"), rows)


def _rate(value: float | None) -> str | None:
    if value is None or math.isnan(value):
        return None
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ms(value: float | None) -> str | None:
    if value is None or math.isnan(value):
        return None
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.2f} ms" if value < 10 else f"{value:.1f} ms"
