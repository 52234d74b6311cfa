"""Finds the options with which an engine serves a model best on this machine.

Run as `python -m freehold.engines.measure --order JSON`, an order being `Order`. Each candidate gets a server of its
own, which is asked for what requests ask for: to read a prompt and to write an answer, alone and four at once. Prints a
line `measured JSON` for each candidate, then `best JSON` with the options that win; nothing wins against the first
candidate, the defaults of the engine, by less than `LEAST_GAIN`.
"""

import argparse
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from freehold.engines.base import Launch
from freehold.engines.parent import follow_parent

AT_ONCE: Final = 4
PROMPT: Final = 400
"""Characters of a prompt."""
ANSWER_TOKENS: Final = 24
TYPICAL_PROMPT: Final = 256
TYPICAL_ANSWER: Final = 64
"""Tokens of the request by whose time candidates are compared."""
LEAST_GAIN: Final = 0.05
"""By which share a candidate must be faster than the defaults to win: less is noise."""
TWICE_WITHIN_S: Final = 20.0
"""Each candidate is measured twice if that takes about so long."""
START_S: Final = 120.0
ANSWER_S: Final = 150.0
SLOW_S: Final = 8.0
"""A model that takes so long for one answer is not asked for several at once."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured.

    Args:
        server: the module of the engine's process, which takes `--spec JSON`.
        spec: what it serves; `socket` and the candidate's options are put in.
        candidates: options to try, the defaults first.
        health: the address that is answered once it is ready.
        more: what a request to it has besides prompt, length and temperature.
    """

    server: str
    spec: Mapping[str, Any]
    candidates: Sequence[Mapping[str, Any]]
    health: str
    more: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: seconds until its first piece and until its end, and the tokens."""

    first_s: float
    took_s: float
    prompt_tokens: int
    completion_tokens: int


def measurement(order: Order) -> Launch:
    """The process that measures."""
    return Launch((sys.executable, "-m", "freehold.engines.measure", "--order", json.dumps(asdict(order))))


def main() -> None:
    """Measure each candidate, and again in the other order while there is time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--order", required=True, help="what is to be measured, as JSON")
    follow_parent()
    order, began = Order(**json.loads(parser.parse_args().order)), time.monotonic()
    rounds: dict[int, list[dict[str, float]]] = {}
    places = range(len(order.candidates))
    for place in (*places, *reversed(places)):
        if place not in rounds or time.monotonic() - began < TWICE_WITHIN_S / 2:
            rounds.setdefault(place, []).append(measure(order, order.candidates[place]))
    figures = [_means(rounds[place]) for place in places]
    for options, figure in zip(order.candidates, figures, strict=True):
        sys.stdout.write(f"measured {json.dumps({'options': options, 'figures': figure})}\n")
    best = min(places, key=lambda place: figures[place]["request_s"])
    wins = figures[best]["request_s"] < (1 - LEAST_GAIN) * figures[0]["request_s"]
    sys.stdout.write(f"best {json.dumps(order.candidates[best] if wins else {})}\n")


def measure(order: Order, options: Mapping[str, Any]) -> dict[str, float]:
    """Tokens per second with these options, and the seconds of a typical request."""
    with _serving(order, options) as path:
        _ask(path, order, 0)  # what is done once is done now
        alone = _ask(path, order, 1)
        if alone.took_s > SLOW_S:
            return _figures(alone, [alone], alone.took_s)
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda number: _ask(path, order, number), range(2, 2 + AT_ONCE)))
        return _figures(alone, answers, time.perf_counter() - began)


def _figures(alone: Answer, answers: Sequence[Answer], took_s: float) -> dict[str, float]:
    """What one answer alone and several at once come to; of a model that is slow, the one stands for the several."""
    prefill = alone.prompt_tokens / alone.first_s
    decode = max(alone.completion_tokens - 1, 1) / max(alone.took_s - alone.first_s, 1e-6)
    alone_s = TYPICAL_PROMPT / prefill + TYPICAL_ANSWER / decode
    together_s = alone_s * (took_s / len(answers)) / alone.took_s
    return {
        "prompt_tokens_per_s": prefill,
        "answer_tokens_per_s": decode,
        "answer_tokens_per_s_at_4": sum(answer.completion_tokens for answer in answers) / took_s,
        "request_s": (alone_s * together_s) ** 0.5,
    }


@contextmanager
def _serving(order: Order, options: Mapping[str, Any]) -> Iterator[Path]:
    """A server with these options, ready."""
    with tempfile.TemporaryDirectory(prefix="freehold-") as folder:
        path = Path(folder) / "m.sock"
        spec = {**order.spec, "socket": str(path), "options": {**order.spec["options"], **options}}
        server = subprocess.Popen(
            [sys.executable, "-m", order.server, "--spec", json.dumps(spec)], stdout=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + START_S
            while not _ready(path, order.health):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the engine did not become ready")
                time.sleep(0.05)
            yield path
        finally:
            server.kill()
            server.wait()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _ready(path: Path, health: str) -> bool:
    connection = _UnixConnection(path)
    try:
        connection.request("GET", health)
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _ask(path: Path, order: Order, number: int) -> Answer:
    """One answer to a prompt that no other begins like."""
    words = " ".join(str(number * 1000 + word) for word in range(PROMPT))
    body = {
        "model": "measured",
        "prompt": f"{number} {words}"[:PROMPT],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **order.more,
    }
    connection, began, first_s = _UnixConnection(path), time.perf_counter(), None
    usage: dict[str, int] = {}
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            sys.exit(f"the engine refused: {answer.read().decode(errors='replace')}")
        for line in answer:
            if line.startswith(b"data: {"):
                first_s = first_s or time.perf_counter() - began
                usage = json.loads(line.removeprefix(b"data: ")).get("usage") or usage
    finally:
        connection.close()
    if first_s is None or not usage.get("completion_tokens"):
        sys.exit("the engine's answer cannot be read")
    return Answer(first_s, time.perf_counter() - began, usage["prompt_tokens"], usage["completion_tokens"])


def _means(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(each[name] for each in rounds) / len(rounds), 3) for name in rounds[0]}


if __name__ == "__main__":
    main()
