"""What a file of examples may hold, and how what is wrong with it is told."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.training.finetune.dataset import MAX_PROBLEMS, Checker, DatasetReport, check, check_file, read_examples
from freehold.training.finetune.example_json import MAX_LINE_BYTES
from freehold.training.finetune.protocol import Method

METHODS: tuple[Method, ...] = ("supervised", "dpo", "reinforcement")
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
GOOD: dict[Method, dict[str, Any]] = {
    "supervised": {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
    "dpo": {
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "preferred_output": [{"role": "assistant", "content": "Hello"}],
        "non_preferred_output": [{"role": "assistant", "content": "What"}],
    },
    "reinforcement": {"messages": [{"role": "user", "content": "2+2"}], "answer": "4"},
}


def lines(*examples: object) -> bytes:
    return b"".join(json.dumps(example).encode() + b"\n" for example in examples)


def report(content: bytes, method: Method = "supervised", *, least: int = 1) -> DatasetReport:
    checker = Checker(method, least)
    checker.feed(content)
    return checker.finish()


def told(example: object, method: Method = "supervised") -> list[str]:
    return [str(problem) for problem in report(lines(example), method).problems]


@pytest.mark.parametrize("method", METHODS)
def test_good_examples_pass(method: Method) -> None:
    """Ten examples in the form of the method are a file without problems, and their text is counted."""
    found = report(lines(*[GOOD[method]] * 10), method, least=10)
    assert not found.problems
    assert (found.examples, found.problem_count) == (10, 0)
    assert found.estimated_tokens == found.text_bytes // 4 > 0


def test_conversations_of_all_kinds_pass() -> None:
    """Tools and their answers, parts of content, names, weights and a system message are all learnt from."""
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}], "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [CALL], "weight": 0},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "assistant", "content": "Sunny.", "weight": 1},
    ]
    assert not told({"messages": messages, "tools": [TOOL], "parallel_tool_calls": False})


def test_prompts_and_completions_pass_where_nothing_else_stands() -> None:
    """The old form is learnt from too, but a file has one form only."""
    old = {"prompt": "2+2=", "completion": " 4"}
    assert not told(old)
    mixed = report(lines(old, GOOD["supervised"]))
    assert [problem.line for problem in mixed.problems] == [2]


def test_too_few_examples_are_told() -> None:
    """A file of fewer than ten examples is refused as a whole, with their number."""
    found = report(lines(*[GOOD["supervised"]] * 9), least=10)
    assert found.explain() == "a file needs at least 10 examples; it has 9"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"messages": []}, "line 1, messages: must be a list of messages"),
        ({"messages": [{"role": "user", "content": "a"}]}, "line 1, messages[0].role: the last message must be"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": "b"}]}, "messages[0].content: is missing"),
        ({"messages": [{"role": "bot", "content": "a"}]}, "line 1, messages[0].role: 'bot' is none"),
        ({"messages": [{"role": "assistant", "content": ""}]}, "line 1, messages[0].content: must not be empty"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": 2}]}, "messages[0].weight: must be 0"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": True}]}, "messages[0].weight: must be 0"),
        ({"messages": [{"role": "assistant", "content": "a", "weight": 0}]}, "line 1, messages: every message"),
        ({"messages": [{"role": "assistant", "content": "a", "mood": 1}]}, "line 1, messages[0].mood: is not a field"),
        ({"messages": [{"role": "user", "content": "a", "weight": 1}]}, "line 1, messages[0].weight: is not a field"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "line 1, messages[0].tool_calls[0]: must be"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "a"}]}, "tool_call_id: is the id of no call"),
        ({"messages": ["hello"]}, "line 1, messages[0]: must be an object"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "content[0]: parts of the type 'image"),
        ({**GOOD["supervised"], "tools": [{"type": "function"}]}, "line 1, tools[0]: must be"),
        ({**GOOD["supervised"], "extra": 1}, "line 1, extra: is not a field"),
        ({"prompt": "a"}, "line 1, completion: is missing"),
        ({}, "line 1, messages: is missing"),
    ],
)
def test_a_problem_names_its_line_and_field(change: dict[str, Any], expected: str) -> None:
    """Whoever mends a file is told where to look."""
    assert any(expected in problem for problem in told(change)), told(change)


def test_calls_are_learnt_only_with_arguments_that_are_json() -> None:
    """A model must not learn to write arguments that nobody can read."""
    broken = {**CALL, "function": {"name": "weather", "arguments": "city: Oslo"}}
    (problem,) = told({"messages": [{"role": "assistant", "tool_calls": [broken]}]})
    assert problem.startswith("line 1, messages[0].tool_calls[0].function.arguments: must be a JSON object")


def test_preferences_need_two_different_outputs() -> None:
    """A pair of equal answers says nothing, and one that is missing makes no pair."""
    good = GOOD["dpo"]
    same = {**good, "non_preferred_output": good["preferred_output"]}
    assert "is the same as the preferred one" in told(same, "dpo")[0]
    lacking = {key: value for key, value in good.items() if key != "preferred_output"}
    assert told(lacking, "dpo") == ["line 1, preferred_output: is missing"]
    answered = {**good, "input": GOOD["supervised"]}
    assert told(answered, "dpo")[0].startswith("line 1, input.messages[1].role: the last message must be the user's")


def test_reinforcement_takes_fields_of_its_own() -> None:
    """The grader reads what the data set says beside its messages; but the messages must end with a question."""
    assert not told({**GOOD["reinforcement"], "any": {"thing": [1, None]}}, "reinforcement")
    answered = {**GOOD["supervised"], "answer": "4"}
    assert "to be answered" in told(answered, "reinforcement")[0]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"messages": ', "is not valid JSON"),
        (b'{"a": 1, "a": 2}', "line 1, a: the key stands twice"),
        (b'{"a": {"b": 1, "b": 2}}', "line 1, b: the key stands twice"),
        (b"\xff{}", "line 1: is not UTF-8: the byte at column 1"),
        (b"\xef\xbb\xbf{}", "line 1: begins with a byte order mark"),
        (b'{"a": NaN}', "is not valid JSON"),
        (b'{"a": "\\ud800"}', "is not valid JSON"),
        (b"[1, 2]", "line 1: must be a JSON object"),
        (b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", "is nested more than 64 levels deep"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1: is n"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not valid JSON: number is infinity"),
    ],
)
def test_lines_that_are_no_json_are_told(raw: bytes, expected: str) -> None:
    """Broken JSON, foreign encodings, keys that stand twice and deep nesting are problems, and no crash."""
    (problem,) = report(raw + b"\n").problems
    assert expected in str(problem)


def test_a_line_of_a_gigabyte_needs_no_memory() -> None:
    """A line longer than its bound is skipped as it comes in, and the lines behind it are checked all the same."""

    async def pieces() -> AsyncIterator[bytes]:
        piece = b"a" * 1_048_576
        for _ in range(1024):
            yield piece
        yield b"\n" + lines(GOOD["supervised"], {"messages": []})

    tracemalloc.start()
    found = asyncio.run(check(pieces(), "supervised", min_examples=1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.bytes > 2**30
    assert [problem.line for problem in found.problems] == [1, 3]
    assert "is longer than" in found.problems[0].message
    assert peak < 8 * MAX_LINE_BYTES


def test_problems_are_counted_beyond_those_that_are_told() -> None:
    """A file in which every line is wrong makes a short report."""
    found = report(b"{\n" * 1000)
    assert len(found.problems) == MAX_PROBLEMS
    assert found.problem_count == 1000
    assert found.explain(most=1).endswith("; and 999 more")


def test_blank_lines_are_no_examples() -> None:
    """A line end too many, and line ends of Windows, hurt nobody."""
    found = report(lines(GOOD["supervised"]).replace(b"\n", b"\r\n") + b"\r\n\n")
    assert not found.problems
    assert found.examples == 1


def test_a_file_is_read_as_it_was_checked(tmp_path: Path) -> None:
    """What passes the check can be read, in its order."""
    path = tmp_path / "training.jsonl"
    examples = [{"prompt": str(number), "completion": "x"} for number in range(12)]
    path.write_bytes(lines(*examples))
    assert not check_file(path, "supervised").problems
    assert list(read_examples(path)) == examples


def cut(content: bytes, places: list[int]) -> Iterator[bytes]:
    edges = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    for start, end in pairwise(edges):
        yield content[start:end]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "weight", "tool_calls", "type", "text", "function", "name", "id"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "bot"])
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["content", "weight", "tool_calls", "name", "tool_call_id"]), JSON_VALUES).flatmap(
        lambda rest: ROLES.map(lambda role: {**rest, "role": role})
    )
    | JSON_VALUES,
    max_size=4,
)
EXAMPLES = st.fixed_dictionaries(
    {},
    optional={
        "messages": MESSAGES | JSON_VALUES,
        "tools": JSON_VALUES,
        "parallel_tool_calls": JSON_VALUES,
        "input": st.fixed_dictionaries({"messages": MESSAGES}) | JSON_VALUES,
        "preferred_output": MESSAGES | JSON_VALUES,
        "non_preferred_output": MESSAGES | JSON_VALUES,
        "prompt": JSON_VALUES,
        "completion": JSON_VALUES,
    },
)


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=4), st.sampled_from(METHODS))
def test_any_bytes_are_reported_and_crash_nothing(content: bytes, places: list[int], method: Method) -> None:
    """Whatever is uploaded makes a report, the same however it was cut."""
    whole = asyncio.run(check([content], method))
    assert asyncio.run(check(cut(content, places), method)) == whole
    assert whole.problem_count


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(EXAMPLES, max_size=4), st.sampled_from(METHODS))
def test_any_json_is_reported_and_crashes_nothing(examples: list[Any], method: Method) -> None:
    """Whatever JSON stands in the lines, each problem lies on one of them."""
    found = report(lines(*examples), method)
    assert found.examples == len(examples)
    assert all(0 <= problem.line <= len(examples) for problem in found.problems)
