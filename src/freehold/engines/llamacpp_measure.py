"""Finds the number of threads with which llama.cpp serves a model best on this machine.

Run as `python -m freehold.engines.llamacpp_measure --spec JSON --seconds N`, the spec being that of `llamacpp_server`.
Each candidate gets a server of its own, which is asked for what a short request asks for: to read a prompt and to write
an answer, alone and four at once. More threads than cores slow each other down, and threads that wait for each other
spin, so the best number is not always that of the cores. Prints a line `measured JSON` for each candidate, then `best
JSON` with the options that win; nothing wins by less than `LEAST_GAIN`.
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
from pathlib import Path
from typing import Any, Final

from freehold.engines.llamacpp_cores import logical_cores, physical_cores
from freehold.engines.parent import follow_parent

AT_ONCE: Final = 4
PROMPT_WORDS: Final = 40
ANSWER_TOKENS: Final = 24
TYPICAL_PROMPT: Final = 256
TYPICAL_ANSWER: Final = 64
"""Tokens of the request by whose time candidates are compared."""
LEAST_GAIN: Final = 0.05
"""By which share a candidate must be faster than the default to win: less is noise."""
CONTEXT: Final = 512
START_S: Final = 60.0
ANSWER_S: Final = 150.0
SLOW_S: Final = 8.0
"""A model that takes so long for one answer is not asked for several at once."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def main() -> None:
    """Measure each candidate, the default first, and again in the other order while there is time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="what is to be served, as JSON")
    parser.add_argument("--seconds", type=float, default=20.0, help="each candidate twice if that takes about so long")
    args = parser.parse_args()
    follow_parent()
    spec, began = json.loads(args.spec), time.monotonic()
    found: dict[int, list[dict[str, float]]] = {}
    numbers = candidates()
    for threads in (*numbers, *reversed(numbers)):
        if threads not in found or time.monotonic() - began < args.seconds / 2:
            found.setdefault(threads, []).append(measure(spec, threads))
    figures = {threads: _means(rounds) for threads, rounds in found.items()}
    for threads, figure in figures.items():
        sys.stdout.write(f"measured {json.dumps({'options': {'threads': threads}, 'figures': figure})}\n")
    best = min(figures, key=lambda threads: figures[threads]["request_s"])
    wins = figures[best]["request_s"] < (1 - LEAST_GAIN) * figures[numbers[0]]["request_s"]
    sys.stdout.write(f"best {json.dumps({'threads': best} if wins else {})}\n")


def candidates() -> list[int]:
    """Numbers of threads that are worth a trial, the default first."""
    physical, logical = physical_cores(), logical_cores()
    numbers = [physical, logical, max(1, physical - 1), max(1, physical // 2)]
    return list(dict.fromkeys(numbers))


def measure(spec: Mapping[str, Any], threads: int) -> dict[str, float]:
    """Tokens per second with so many threads, and the seconds of a typical request."""
    with _serving(spec, threads) as path:
        _ask(path, 0, tokens=1)  # what is done once is done now
        began = time.perf_counter()
        alone = _ask(path, 1, tokens=ANSWER_TOKENS)
        if time.perf_counter() - began > SLOW_S:
            return _figures(alone, [alone], (alone["prompt_ms"] + alone["predicted_ms"]) / 1e3)
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda number: _ask(path, number, tokens=ANSWER_TOKENS), range(2, 2 + AT_ONCE)))
        return _figures(alone, answers, time.perf_counter() - began)


def _figures(alone: Mapping[str, float], answers: Sequence[Mapping[str, float]], took_s: float) -> dict[str, float]:
    """What one answer alone and several at once come to; of a model that is slow, the one stands for the several."""
    prefill, decode = alone["prompt_n"] / alone["prompt_ms"] * 1e3, alone["predicted_n"] / alone["predicted_ms"] * 1e3
    alone_s = TYPICAL_PROMPT / prefill + TYPICAL_ANSWER / decode
    work = alone["prompt_n"] / prefill + alone["predicted_n"] / decode
    together_s = alone_s * (took_s / len(answers)) / work
    return {
        "prompt_tokens_per_s": prefill,
        "answer_tokens_per_s": decode,
        "answer_tokens_per_s_at_4": sum(answer["predicted_n"] for answer in answers) / took_s,
        "request_s": (alone_s * together_s) ** 0.5,
    }


@contextmanager
def _serving(spec: Mapping[str, Any], threads: int) -> Iterator[Path]:
    """A server with so many threads, ready."""
    with tempfile.TemporaryDirectory(prefix="freehold-") as folder:
        path = Path(folder) / "m.sock"
        own = {
            **spec,
            "socket": str(path),
            "parallel": AT_ONCE,
            "context_length": CONTEXT,
            "options": {**spec["options"], "threads": threads},
        }
        argv = [sys.executable, "-m", "freehold.engines.llamacpp_server", "--spec", json.dumps(own)]
        server = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + START_S
            while not _ready(path):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the server did not become ready")
                time.sleep(0.05)
            yield path
        finally:
            server.kill()
            server.wait()


def _ready(path: Path) -> bool:
    try:
        return _request(path, "GET", "/health", None)[0] == http.HTTPStatus.OK
    except OSError:
        return False


def _ask(path: Path, number: int, *, tokens: int) -> dict[str, float]:
    """The server's own times for one request, whose prompt no other begins like."""
    prompt = f"{number} " + " ".join(str(number * PROMPT_WORDS + word) for word in range(PROMPT_WORDS))
    body = {"prompt": prompt[: PROMPT_WORDS * 4], "n_predict": tokens, "cache_prompt": False, "ignore_eos": True}
    status, answer = _request(path, "POST", "/completion", body)
    if status != http.HTTPStatus.OK:
        sys.exit(f"the server refused: {answer}")
    timings: dict[str, float] = answer["timings"]
    return timings


def _request(path: Path, method: str, address: str, body: Mapping[str, Any] | None) -> tuple[int, Any]:
    connection = _UnixConnection(path)
    try:
        connection.request(
            method, address, None if body is None else json.dumps(body), {"content-type": "application/json"}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")
    finally:
        connection.close()


def _means(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(sum(each[name] for each in rounds) / len(rounds), 3) for name in rounds[0]}


if __name__ == "__main__":
    main()
