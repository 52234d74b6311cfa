"""Tokens per second of concurrent streams: through the gateway, and from the same engine process asked directly.

Both ways are measured in turn within one run, on one replica, so that a change of the machine's speed meets both.

    python -m benchmarks.streams --home ~/.freehold --streams 8 --tokens 128 --rounds 5
"""

import argparse
import asyncio
import json
import statistics
import time
from pathlib import Path

import aiohttp

from benchmarks.serving import machine, server

PROMPTS = [
    "Tell a story about a lighthouse.",
    "Explain how bread is made.",
    "Describe a walk through a forest.",
    "What should one see in Lisbon?",
    "Why is the sea salty?",
    "Write about a day in space.",
    "How do bees find their way?",
    "Describe the house of a clockmaker.",
]


async def one_stream(session: aiohttp.ClientSession, url: str, body: dict[str, object]) -> int:
    """The completion tokens of one stream, read to its end."""
    async with session.post(url, json=body) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            data = line.strip().removeprefix(b"data: ")
            if b'"usage"' in data and b'"completion_tokens"' in data:
                usage = json.loads(data)["usage"]
    return int(usage["completion_tokens"])


ENGINES_OWN = {"top_k": 0, "min_p": 0, "typical_p": 1, "repeat_penalty": 1, "repeat_last_n": 0, "cache_prompt": True}
"""What the engine must be told to sample as OpenAI specifies; the gateway tells it, so who asks directly must too."""


async def tokens_per_second(session: aiohttp.ClientSession, url: str, model: str, streams: int, tokens: int) -> float:
    """All streams at once; their tokens by the time until the last has ended."""
    own = ENGINES_OWN if url.startswith("http://engine/") else {}
    bodies: list[dict[str, object]] = [
        {
            "model": model,
            "messages": [{"role": "user", "content": PROMPTS[i % len(PROMPTS)]}],
            "max_tokens": tokens,
            "temperature": 1,
            "top_p": 1,
            "seed": i,
            "stream": True,
            "stream_options": {"include_usage": True},
            "logit_bias": {"0": -100, "2": -100},  # the starter model's end tokens: every stream has its full length
            "frequency_penalty": 0,
            "presence_penalty": 0,
            **own,
        }
        for i in range(streams)
    ]
    started = time.perf_counter()
    counts = await asyncio.gather(*(one_stream(session, url, body) for body in bodies))
    return sum(counts) / (time.perf_counter() - started)


async def engine_that_chats(home: Path) -> aiohttp.ClientSession:
    """A way to the engine process of the home that answers conversations."""
    for socket in sorted((home / "run").glob("*.sock")):
        # the engine drops connections that it promised to keep, after a stream
        session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0), headers={"connection": "close"}
        )
        body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
        async with session.post("http://engine/v1/chat/completions", json=body) as answer:
            if answer.status == 200:
                return session
        await session.close()
    raise SystemExit(f"no engine under {home / 'run'} answers conversations")


async def main(home: Path, model: str, streams: int, tokens: int, rounds: int) -> None:
    """Measure both ways in turn and print medians and the ratio of each pair."""
    async with server(home) as (url, key, _pid):
        direct = await engine_that_chats(home)
        through = aiohttp.ClientSession(
            headers={"authorization": f"Bearer {key}"}, connector=aiohttp.TCPConnector(limit=0)
        )
        async with direct, through:
            ways = ((through, f"{url}/v1/chat/completions"), (direct, "http://engine/v1/chat/completions"))
            for session, address in ways:
                await tokens_per_second(session, address, model, streams, 16)
            pairs = []
            for number in range(rounds):
                order = ways if number % 2 == 0 else ways[::-1]
                found = {}
                for session, address in order:
                    found[address] = await tokens_per_second(session, address, model, streams, tokens)
                pairs.append((found[ways[0][1]], found[ways[1][1]]))
    print(machine())
    print(f"{streams} streams of up to {tokens} tokens, {rounds} rounds")
    print(f"through the gateway  {statistics.median(p[0] for p in pairs):8.1f} tok/s (median)")
    print(f"engine directly      {statistics.median(p[1] for p in pairs):8.1f} tok/s (median)")
    ratios = sorted(p[0] / p[1] for p in pairs)
    print(f"ratio                {statistics.median(ratios):8.3f} (median; {ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path("~/.freehold").expanduser())
    parser.add_argument("--model", default="chat")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.home, given.model, given.streams, given.tokens, given.rounds))
