"""`freehold bench`."""

import asyncio
import json
from pathlib import Path

import pytest

from freehold.cli.bench_engine import EngineSpeed, Plan, Row, bounds, measure_engine, next_to_try
from freehold.cli.bench_streams import Endpoint
from tests.cli.program import Program, Server

LIMITED = """
[server]
port = 0
starter = false

[[deployment]]
name = "limited"
engine = "echo"
model = "echo"

[[limit]]
scope = "deployment"
id = "limited"
requests_per_minute = 4
"""


def _row(streams: int, each_per_s: float, good: int | None = None) -> Row:
    return Row(streams, streams if good is None else good, 1.0, each_per_s, 1.0, 1.0, ())


def test_what_a_deployment_holds_lies_between_measured_numbers() -> None:
    """Up to the last number that can be read along it holds, and the next one measured is where it fails."""
    rows = [_row(1, 20), _row(4, 8), _row(16, 2)]
    assert bounds(rows, 6) == (4, 16)
    assert bounds(rows, 1) == (16, None)
    assert bounds(rows, 30) == (0, 1)


def test_a_refused_stream_is_not_held() -> None:
    """A wave of which one stream was refused does not count as held, however fast the others were."""
    assert bounds([_row(1, 20), _row(4, 20, good=3)], 6) == (1, 4)


def test_numbers_between_are_tried_until_it_is_known_within_a_tenth() -> None:
    """The number halfway is next, until holding and failing are neighbours or within a tenth; an open end is left."""
    assert next_to_try([_row(16, 2), _row(4, 8)], 6) == 10
    assert next_to_try([_row(4, 8), _row(5, 2)], 6) is None
    assert next_to_try([_row(40, 8), _row(44, 2)], 6) is None
    assert next_to_try([_row(4, 8)], 6) is None
    assert next_to_try([_row(1, 2)], 6) is None


@pytest.mark.slow
class TestEngine:
    def test_a_deployment_is_measured(self, echo_server: tuple[Program, Server]) -> None:
        """Each number of streams has its row, the server's own counts are told, and every prompt is of that length."""
        args = ("bench", "engine", "-d", "echo", "--streams", "3,1", "--tokens", "12", "--prompt-tokens", "40")
        found = echo_server[0].json(*args)
        assert [row["streams"] for row in found["rows"]] == [1, 3]
        assert all(row["good"] == row["streams"] and row["tokens_per_s"] > 0 for row in found["rows"])
        assert 35 <= found["prompt_tokens"] <= 45
        assert found["holds"] == 3
        assert found["fails_at"] is None

    def test_a_person_reads_a_table(self, echo_server: tuple[Program, Server]) -> None:
        """Without --json the rows are a table, with what follows from them below."""
        told = echo_server[0].fine("bench", "engine", "-d", "echo", "--streams", "1,2", "--reading-speed", "1")
        assert "FIRST TOKEN P50" in told
        assert "2 streams at once grow at 1 tokens/s or faster each" in told

    def test_an_absent_deployment_is_named(self, echo_server: tuple[Program, Server]) -> None:
        """A deployment that is not there ends with 2, as for every command, and with the command that lists them."""
        told = echo_server[0].refused(2, "bench", "engine", "-d", "absent")
        assert "absent" in told
        assert "freehold deployments list" in told

    def test_a_server_must_run(self, program: Program) -> None:
        """Without a server it ends with 3 and the command that starts one."""
        assert "freehold serve" in program.refused(3, "bench", "engine")

    def test_limits_are_told_as_what_they_are(self, program: Program, tmp_path: Path) -> None:
        """Streams beyond a limit count as failed with the refusal's code; if the first is refused, that is all."""
        config = tmp_path / "freehold.toml"
        config.write_text(LIMITED)
        with program.serving("--config", str(config)):
            told = program.fine("bench", "engine", "-d", "limited", "--streams", "8", "--tokens", "4")
            assert "failed: 429 rate_limit_exceeded: " in told
            assert "Not even" in told or "Up to" in told
            assert "Rate limit" in program.refused(1, "bench", "engine", "-d", "limited", "--streams", "1")


def test_a_deployment_that_starts_is_waited_for() -> None:
    """While it says that it is not ready it is asked again, which is told once; then it is measured."""
    answers = [b"HTTP/1.1 503 X\r\ncontent-length: 2\r\n\r\n{}"] * 2
    usage = {"prompt_tokens": 30, "completion_tokens": 2}
    events = [{"choices": [{"delta": {"content": "word"}}]}, {"choices": [], "usage": usage}]
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    good = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    told: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        writer.write(answers.pop() if answers else good)
        await writer.drain()
        writer.close()

    async def measured() -> EngineSpeed:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            endpoint = Endpoint.of_url(f"http://127.0.0.1:{port}", "key")
            return await measure_engine(endpoint, Plan("d", (1,), 30, 2, 0.001), lambda: told.append("waiting"))

    assert asyncio.run(measured()).prompt_tokens == 30
    assert told == ["waiting"]
    assert answers == []


@pytest.mark.parametrize("streams", ["", "0", "a", "1,,2", "1,2000"])
def test_numbers_of_streams_are_checked(program: Program, streams: str) -> None:
    """What is no list of numbers from 1 to 1024 ends with 2 and an example."""
    assert "1,4,16" in program.refused(2, "bench", "engine", "--streams", streams)


@pytest.mark.slow
def test_the_gateway_is_measured_on_a_server_of_its_own(program: Program) -> None:
    """The gateway is measured without a home of the caller's, and all figures are there."""
    found = program.json("bench", "gateway", "--seconds", "0.3", "--connections", "4")
    assert found["connections"] == 4
    assert found["requests_per_s"] > 0
    assert found["streams_per_s"] > 0
    assert found["p99_ms"] >= found["p50_ms"] > 0
    assert found["alone_ms"] > found["added_ms"] > 0
    assert not program.home.exists()
