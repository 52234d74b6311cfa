"""Requests that share long instructions, over two replicas: sent to whichever is free, and to one that has read them.

Both ways are measured in turn within one run on the same two replicas. Each round has instructions of its own, so that
no way finds what the other one left in the caches.

    python -m benchmarks.prompt_cache --home ~/.freehold --texts 12 --questions 4 --rounds 5
"""

import argparse
import asyncio
import itertools
import json
import random
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.serving import machine, server

NAME = "prompt-cache-benchmark"
MODEL = "smollm2-135m-instruct"
ENGINE_OPTIONS = {"threads": 1}
WORDS = ("harbour", "engine", "ledger", "garden", "signal", "copper", "valley", "lantern", "orchard", "compass")
READY_S = 120.0


@dataclass(frozen=True, slots=True)
class Round:
    """What one way came to in one round: seconds, shares and tokens per second."""

    way: str
    first_s: float
    took_s: float
    cached: float
    tokens_per_s: float


def instructions(round_number: int, way: str, text: int, words: int) -> str:
    """Long instructions that no other round and no other text begin with."""
    chance = random.Random(f"{round_number} {way} {text}")  # noqa: S311  # guards no secret
    return f"Assistant {chance.random()}. " + " ".join(chance.choice(WORDS) for _ in range(words))


async def ask(session: aiohttp.ClientSession, url: str, text: str, question: int, tokens: int) -> tuple[float, Any]:
    """The seconds until the first piece of an answer, and its usage."""
    body = {
        "model": NAME,
        "messages": [{"role": "system", "content": text}, {"role": "user", "content": f"Question {question}?"}],
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first_s, usage = time.perf_counter(), 0.0, None
    async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            data = line.strip().removeprefix(b"data: ")
            if not data or data == b"[DONE]":
                continue
            event = json.loads(data)
            if not first_s and any(choice["delta"].get("content") for choice in event["choices"]):
                first_s = time.perf_counter() - began
            usage = event.get("usage") or usage
    return first_s or time.perf_counter() - began, usage


async def one_round(session: aiohttp.ClientSession, url: str, way: str, number: int, args: argparse.Namespace) -> Round:
    """All questions under all instructions, in an order of chance, so many at once."""
    work = list(itertools.product(range(args.texts), range(args.questions)))
    random.Random(number).shuffle(work)  # noqa: S311  # guards no secret
    waiting = iter(work)
    found: list[tuple[float, Any]] = []

    async def client() -> None:
        for text, question in waiting:
            said = instructions(number, way, text, args.words)
            found.append(await ask(session, url, said, question, args.tokens))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(args.clients)))
    took_s = time.perf_counter() - began
    usages = [usage for _, usage in found]
    cached = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    return Round(
        way,
        statistics.fmean(first_s for first_s, _ in found),
        took_s,
        cached / sum(usage["prompt_tokens"] for usage in usages),
        sum(usage["completion_tokens"] for usage in usages) / took_s,
    )


async def put(session: aiohttp.ClientSession, url: str, way: str, engine: str) -> None:
    """Have the deployment with two replicas send requests this way; wait until both are ready."""
    settings = {
        "name": NAME,
        "model": MODEL,
        "engine": engine,
        "replicas": 2,
        "context_length": 2048,
        "parallel": 4,
        "options": ENGINE_OPTIONS,
        "prompt_cache_routing": way,
    }
    deadline = time.monotonic() + READY_S
    async with session.put(f"{url}/admin/deployments/{NAME}", json=settings) as answer:
        answer.raise_for_status()
    while time.monotonic() < deadline:
        async with session.get(f"{url}/admin/deployments/{NAME}") as answer:
            replicas = (await answer.json())["replicas"]
        if sum(replica["state"] == "ready" for replica in replicas) == 2:
            return
        await asyncio.sleep(0.1)
    raise SystemExit("the replicas did not become ready")


async def measure(args: argparse.Namespace) -> list[Round]:
    """The rounds of both ways, in turn."""
    rounds = []
    timeout = aiohttp.ClientTimeout(total=None)
    async with (
        server(args.home) as (url, key, _),
        aiohttp.ClientSession(headers={"authorization": f"Bearer {key}"}, timeout=timeout) as session,
    ):
        try:
            for number in range(args.rounds):
                for way in ("off", "on") if number % 2 == 0 else ("on", "off"):
                    await put(session, url, way, args.engine)
                    rounds.append(await one_round(session, url, way, number, args))
        finally:
            async with session.delete(f"{url}/admin/deployments/{NAME}") as answer:
                await answer.read()
    return rounds


def main() -> None:
    """Measure and print a table, and with --json every round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True, help="a home with the starter models")
    parser.add_argument("--engine", default="llamacpp")
    parser.add_argument("--texts", type=int, default=12, help="different instructions in a round")
    parser.add_argument("--questions", type=int, default=4, help="questions under each of them")
    parser.add_argument("--words", type=int, default=500, help="words of the instructions")
    parser.add_argument("--tokens", type=int, default=16, help="tokens of an answer")
    parser.add_argument("--clients", type=int, default=2, help="requests at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rounds = asyncio.run(measure(args))
    if args.json:
        print(json.dumps({"machine": machine(), "rounds": [asdict(each) for each in rounds]}, indent=2))
        return
    print(machine())
    print("| | first piece, mean s | of the prompts cached | answer tokens/s | round, s |")
    print("|---|---|---|---|---|")
    for way in ("off", "on"):
        own = [each for each in rounds if each.way == way]
        cells = [
            f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
            for values, form in (
                ([each.first_s for each in own], ".3f"),
                ([each.cached for each in own], ".0%"),
                ([each.tokens_per_s for each in own], ".1f"),
                ([each.took_s for each in own], ".1f"),
            )
        ]
        print(f"| {way} | {' | '.join(cells)} |")
    pairs = zip(*([each for each in rounds if each.way == way] for way in ("off", "on")), strict=True)
    print(
        f"first piece, off over on, median of pairs: {statistics.median(o.first_s / n.first_s for o, n in pairs):.2f}"
    )


if __name__ == "__main__":
    main()
