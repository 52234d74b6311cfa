"""The input of a batch: lines out of pieces, and what is wrong with them."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.gateway.batch_input import MOST_PROBLEMS, Checker, lines_of
from freehold.types.batches import MOST_LINES
from tests.batching import jsonl, line

MOST = 1000


async def pieces(data: bytes, size: int) -> AsyncGenerator[bytes]:
    """A file in pieces of a size."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def lines(data: bytes, size: int = 64, most: int = MOST) -> list[tuple[int, bytes | None]]:
    """The lines of a file that comes in pieces."""

    async def main() -> list[tuple[int, bytes | None]]:
        return [found async for found in lines_of(pieces(data, size), most)]

    return asyncio.run(main())


def checked(data: bytes, endpoint: str = "/v1/chat/completions", size: int = 4096) -> Checker:
    """What a checker says of a file."""
    checker = Checker(endpoint, MOST)
    asyncio.run(checker.check(pieces(data, size)))
    return checker


@given(
    st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"").strip().lstrip(b"\xef\xbb\xbf"))),
    st.integers(1, 50),
    st.booleans(),
)
def test_lines_are_the_same_however_they_are_cut(texts: list[bytes], size: int, ended: bool) -> None:
    """A file's lines do not depend on its pieces, and keep the numbers that an editor shows."""
    data = b"\n".join(texts) + (b"\n" if ended else b"")
    assert lines(data, size) == [(number, text) for number, text in enumerate(texts, 1) if text.strip()]


@pytest.mark.parametrize("size", [1, 7, 64, 100_000])
def test_a_line_that_is_too_long_is_passed_over(size: int) -> None:
    """It is told without being kept, at the end of a file as well, and those around it are as they were."""
    data = b"a\n" + b"x" * 5000 + b"\n\r\nb\n" + b"y" * 5000
    assert lines(data, size, 100) == [(1, b"a"), (2, None), (4, b"b"), (5, None)]


def test_a_line_of_a_gigabyte_takes_no_memory() -> None:
    """However long a line is, no more of it is kept than a request may have, and it is told by its number."""

    async def poisoned() -> AsyncGenerator[bytes]:
        yield jsonl([line("a")])
        piece = b"x" * (1024 * 1024)
        for _ in range(1024):
            yield piece
        yield b"\n" + jsonl([line("b")])

    checker = Checker("/v1/chat/completions", MOST)
    tracemalloc.start()
    try:
        asyncio.run(checker.check(poisoned()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [(each.line, each.code) for each in checker.problems] == [(2, "request_too_large")]
    assert checker.total == 3
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("changed", "code", "param"),
    [
        ({"method": "GET"}, "invalid_method", "method"),
        ({"url": "/v1/embeddings"}, "invalid_url", "url"),
        ({"url": 7}, "invalid_url", "url"),
        ({"body": []}, "invalid_body", "body"),
        ({"custom_id": ""}, "invalid_custom_id", "custom_id"),
        ({"custom_id": 7}, "invalid_custom_id", "custom_id"),
        ({"custom_id": "x" * 513}, "invalid_custom_id", "custom_id"),
        ({"more": 1}, "unknown_parameter", "more"),
        ({"body": {"model": "echo", "stream": True}}, "unsupported_parameter", "body.stream"),
        ({"body": {"model": "echo", "background": True}}, "unsupported_parameter", "body.background"),
        ({"body": {}}, "missing_required_parameter", "body.model"),
        ({"body": {"model": 7}}, "missing_required_parameter", "body.model"),
        ({"body": {"model": "other"}}, "mismatched_model", "body.model"),
    ],
)
def test_a_mistake_is_named(changed: dict[str, Any], code: str, param: str) -> None:
    """What is wrong with a line is told with its number, a code and the part of it."""
    found = checked(jsonl([line("a"), {**line("b"), **changed}, line("c")]))
    assert [(each.line, each.code, each.param) for each in found.problems] == [(2, code, param)]


@pytest.mark.parametrize("missing", ["custom_id", "method", "url", "body"])
def test_a_missing_part_is_named(missing: str) -> None:
    """Each of the four parts has to be there."""
    found = checked(jsonl([{name: value for name, value in line("a").items() if name != missing}]))
    assert [(each.code, each.param) for each in found.problems] == [("missing_required_parameter", missing)]


@pytest.mark.parametrize("text", [b"{", b"7", b"[]", b"{}}", b"\xff", b'"a"', b"null", b"[" * 900])
def test_a_line_that_is_no_object_is_named(text: bytes) -> None:
    """A line that is no JSON object is an error of its own, and the lines behind it are looked at."""
    found = checked(jsonl([line("a")]) + text + b"\n" + jsonl([line("a")]))
    assert [(each.line, each.code) for each in found.problems] == [
        (2, "invalid_json_line"),
        (3, "duplicate_custom_id"),
    ]


def test_a_good_input_has_its_lines_counted() -> None:
    """Empty lines do not count, both forms of an endpoint are one, and moderations need no model."""
    found = checked(jsonl([line("a", url="/chat/completions")]) + b"\n\n" + jsonl([line("b")]))
    assert (found.problems, found.total, found.model) == ([], 2, "echo")
    said = {"custom_id": "a", "method": "POST", "url": "/v1/moderations", "body": {"input": "x"}}
    found = checked(jsonl([said]), "/moderations")
    assert (found.problems, found.total, found.model) == ([], 1, None)


def test_too_many_lines_or_mistakes_end_the_look() -> None:
    """A file of too many lines is refused as one, an empty one as well, and mistakes are told up to a hundred."""
    many = b"".join(json.dumps(line(f"{n}")).encode() + b"\n" for n in range(MOST_LINES + 1))
    assert [each.code for each in checked(many, size=1 << 20).problems] == ["too_many_tasks"]
    assert [each.code for each in checked(b"\n \n").problems] == ["empty_file"]
    assert len(checked(b"x\n" * 300).problems) == MOST_PROBLEMS
