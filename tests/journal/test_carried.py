"""What the limits are rebuilt from: folded over records, carried over segments and restarts."""

import asyncio
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.config import JournalSettings
from freehold.journal.carried import Carried
from freehold.journal.records import Kind, canonical, utc
from tests.journal.journals import START_S, admitted, lines_of, opened, receipt

OUTCOMES = ["finished", "refused", "failed", "cancelled"]
SECONDS = st.integers(0, 40 * 86_400)


def _receipts() -> st.SearchStrategy[list[dict[str, Any]]]:
    """Receipts in the order of their ends, each of a request that ran up to two days."""
    one = st.tuples(
        st.floats(0, 20 * 86_400) | st.floats(0, 200),
        st.floats(0, 2 * 86_400) | st.floats(0, 5),
        st.sampled_from(OUTCOMES),
        st.sampled_from(["proj_1", "proj_2"]),
        st.integers(0, 500),
        st.booleans(),
    )

    def made(drawn: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        now, found = START_S + 40 * 86_400, []
        for number, (wait_s, took_s, outcome, project, cost, with_user) in enumerate(drawn):
            now += wait_s
            fields = {"outcome": outcome, "project_id": project, "cost_micro": cost, "prompt_tokens": number}
            user = {"end_user": "somebody"} if with_user else {}
            found.append(receipt(number, started_at=utc(now - took_s), ended_at=utc(now), **fields, **user))
        return found

    return st.lists(one, min_size=1, max_size=25).map(made)


def _names(body: dict[str, Any]) -> list[str]:
    scopes = {"organization": "organization_id", "project": "project_id", "key": "key_id", "end_user": "end_user"}
    return [f"{scope}:{body[name]}" for scope, name in {**scopes, "deployment": "deployment"}.items() if name in body]


def _pair(body: dict[str, Any]) -> list[str]:
    both = "project_id" in body and "deployment" in body
    return [f"project_deployment:{body['project_id']}/{body['deployment']}"] if both else []


@given(_receipts())
def test_the_fold_equals_a_sum_over_all_receipts(receipts: list[dict[str, Any]]) -> None:
    """What was spent today, yesterday, this month and last month, and what ended in the last minute, is exact."""
    carried = Carried()
    spent: dict[str, Counter[str]] = defaultdict(Counter)
    for body in receipts:
        carried.apply(Kind.RECEIPT, body)
        for name in _names(body):
            spent[body["started_at"][:10]][name] += body["cost_micro"]
            spent[body["started_at"][:7]][name] += body["cost_micro"]
        now = body["ended_at"]
        for period in _periods(now):
            assert carried.spent.get(period, {}) == +spent[period]
    assert len(carried.spent) <= 6
    latest = _second(receipts[-1])
    counted = [body for body in receipts if body["outcome"] != "refused"]
    expected: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for body in counted:
        if _second(body) > latest - 60:
            for name in _names(body) + _pair(body):
                expected[name][0] += 1
                expected[name][1] += body["prompt_tokens"] + body["completion_tokens"]
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for second, counts in carried.recent.items():
        if second > latest - 60:
            for name, (requests, tokens) in counts.items():
                found[name][0] += requests
                found[name][1] += tokens
    assert found == expected
    assert len(carried.recent) <= 60


def _periods(now: str) -> list[str]:
    """Today and this month; and the day and the month before."""
    second = _second({"ended_at": now})
    day = utc(second)[:10]
    month = day[:7]
    before = utc(second - int(day[8:]) * 86_400)[:7]
    return [day, utc(second - 86_400)[:10], month, before]


def _second(body: dict[str, Any]) -> int:
    low, high = 0, 2**33
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if utc(middle) <= body["ended_at"] else (low, middle)
    return low


@given(_receipts(), st.integers(0, 25))
def test_a_fold_goes_on_from_what_was_carried(receipts: list[dict[str, Any]], place: int) -> None:
    """To carry the state in a record and to go on from it is the same as one fold over everything."""
    whole, first = Carried(), Carried()
    for number, body in enumerate(receipts):
        whole.apply(Kind.ADMITTED, admitted(1000 + number))
        whole.apply(Kind.RECEIPT, body)
    for number, body in enumerate(receipts[:place]):
        first.apply(Kind.ADMITTED, admitted(1000 + number))
        first.apply(Kind.RECEIPT, body)
    second = Carried.from_wire(orjson.loads(canonical(first.wire())))
    for number, body in enumerate(receipts[place:]):
        second.apply(Kind.ADMITTED, admitted(1000 + place + number))
        second.apply(Kind.RECEIPT, body)
    assert second.wire() == whole.wire()


def test_a_request_is_open_until_its_receipt() -> None:
    """An admitted request is open, with what it was admitted with, until it has a receipt."""
    carried = Carried()
    carried.apply("admitted", admitted(1))
    carried.apply("admitted", admitted(2))
    carried.apply("receipt", receipt(1))
    assert carried.open == {"req_2": admitted(2)}


def test_a_wrong_clock_does_not_lose_today() -> None:
    """A receipt from a clock that ran ahead by years leaves what was spent today in its place."""
    carried = Carried()
    carried.apply("receipt", receipt(1))
    far = "2099-01-01T00:00:00.000000Z"
    carried.apply("receipt", receipt(2, started_at=far, ended_at=far))
    carried.apply("receipt", receipt(3))
    assert carried.spent["2026-11-24"]["key:key_1"] == 240
    assert carried.spent["2026-11"]["key:key_1"] == 240
    assert [counts["key:key_1"][0] for counts in carried.recent.values()] == [1]


def test_a_copy_is_its_own() -> None:
    """What is done to a state that was read changes nothing in what it was read from."""
    carried = Carried()
    carried.apply("receipt", receipt(1))
    wire = carried.wire()
    copy = Carried.from_wire(wire)
    copy.apply("receipt", receipt(2))
    copy.apply("admitted", admitted(3))
    assert carried.spent["2026-11"]["key:key_1"] == 120
    assert carried.open == {}
    assert [counts["key:key_1"] for counts in carried.recent.values()] == [[1, 12]]


@pytest.mark.parametrize("orderly", [True, False])
def test_segments_and_restarts_carry_the_whole_fold(tmp_path: Path, *, orderly: bool) -> None:
    """At every segment's beginning and after a restart the state is what a fold over all records gives."""
    settings = JournalSettings(segment_bytes=64 * 1024)

    async def scenario() -> None:
        async with opened(tmp_path, settings) as journal:
            for number in range(300):
                journal.submit(Kind.ADMITTED, admitted(number), durable=False)
                if orderly or number % 50:
                    moment = START_S + number * 30
                    body = receipt(number, started_at=utc(moment - 1), ended_at=utc(moment))
                    await journal.submit(Kind.RECEIPT, body, durable=False)

    asyncio.run(scenario())
    fold, headers = Carried(), 0
    for line in lines_of(tmp_path):
        record = orjson.loads(line)
        if record["kind"] == "segment":
            assert record["body"]["carried"] == orjson.loads(canonical(fold.wire()))
            headers += 1
        fold.apply(record["kind"], record["body"])
    assert headers > 2
    assert len(fold.open) == (0 if orderly else 6)

    async def restart() -> None:
        async with opened(tmp_path, settings) as journal:
            for body in list(fold.open.values()):
                settled = receipt_of(journal.folder, body["request_id"])
                fold.apply("receipt", settled)
            assert journal.carried.wire() == fold.wire()

    asyncio.run(restart())


def receipt_of(folder: Path, request_id: str) -> dict[str, Any]:
    """The body of a request's receipt, found by reading everything."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            record: dict[str, Any] = orjson.loads(line)
            if record["kind"] == "receipt" and record["body"]["request_id"] == request_id:
                body: dict[str, Any] = record["body"]
                return body
    raise LookupError(request_id)
