"""The checks of a soak find what they are there to find."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.soak import checking
from benchmarks.soak.callers import Answer, Tally
from benchmarks.soak.checking import Books, Check
from benchmarks.soak.mixture import Ask, Manner
from benchmarks.soak.watching import Sample

KEYS = {"callers": "key_1", "pipers": "key_2"}
MONTH = "2026-11"
ASK = Ask("chat", "callers", b"")
PIPED = Ask("pipelined", "pipers", b"", answers=3, least=1, most=2)
SAMPLE = Sample(0, 0, 100.0, 50.0, {"sockets": 10}, 0, 10, 0, 0, 0, 0, 0, 1.0)


def receipt(number: int, **more: Any) -> dict[str, Any]:
    """A receipt's body."""
    return {
        "request_id": f"req_{number:032x}",
        "started_at": f"{MONTH}-28T10:00:00.000000Z",
        "status": 200,
        "outcome": "finished",
        "key_id": "key_1",
        "organization_id": "org",
        "project_id": "proj",
        "cost_micro": 7,
        **more,
    }


def answer(number: int, **more: Any) -> Answer:
    """An answer that was read whole."""
    return replace(Answer(200, f"req_{number:032x}", whole=True), **more)


def seen() -> Tally:
    """A caller who got its answer, one whose stream broke off with an error, one who left, and one who sent garbage."""
    tally = Tally()
    leaver = replace(ASK, manner=Manner(leave_after_bytes=1))
    broken = answer(2, stream=True, tail=b'data: {"error": {}}\n\n')
    for ask, answers in ((ASK, [answer(1)]), (ASK, [broken]), (leaver, [answer(3, whole=False)]), (PIPED, [])):
        tally.begin(ask)
        tally.end(ask, answers)
    assert not tally.wrong
    return tally


def books(*bodies: dict[str, Any]) -> Books:
    """The books of these receipts, or of those that fit what was seen."""
    found = Books()
    for body in bodies or (receipt(1), receipt(2, outcome="failed"), receipt(3), receipt(4, key_id="key_2")):
        found.add(body, MONTH)
        found.admitted.add(bytes.fromhex(body["request_id"][4:]))
    return found


def failed(checks: list[Check]) -> list[str]:
    """What does not hold."""
    return [check.what for check in checks if not check.holds]


def test_books_that_fit_hold() -> None:
    """Where each request has its receipt, every check of receipts holds."""
    assert failed(checking.of_receipts(books(), seen(), KEYS)) == []


@pytest.mark.parametrize(
    ("bodies", "expected"),
    [
        ([receipt(2, outcome="failed"), receipt(3), receipt(5)], "each answer with a request's id has its receipt"),
        ([receipt(1), receipt(2, outcome="failed"), receipt(5)], "each answer with a request's id has its receipt"),
        ([receipt(1), receipt(1), receipt(2, outcome="failed"), receipt(3)], "no request has two receipts"),
        ([receipt(1, status=502), receipt(2, outcome="failed"), receipt(3)], "a receipt has the status"),
        ([receipt(1, outcome="failed"), receipt(2, outcome="failed"), receipt(3)], "what was read whole is recorded"),
        ([receipt(1), receipt(2), receipt(3)], "what was read whole is recorded as finished, and a stream"),
        ([receipt(1), receipt(2, outcome="failed"), receipt(3), receipt(6)], "receipts of the key 'callers'"),
        ([receipt(1), receipt(2, outcome="failed"), receipt(3)], "receipts of the key 'pipers'"),
    ],
)
def test_a_wrong_receipt_is_found(bodies: list[dict[str, Any]], expected: str) -> None:
    """A receipt that is missing, doubled, different or too many is told."""
    found = failed(checking.of_receipts(books(*bodies), seen(), KEYS))
    assert any(what.startswith(expected) for what in found), found


def test_what_was_admitted_and_never_settled_is_found() -> None:
    """An admission without a receipt is told."""
    kept = books()
    kept.admitted.add(bytes(16))
    assert failed(checking.of_receipts(kept, seen(), KEYS)) == ["what was admitted has a receipt"]


def test_books_are_read_from_the_journal(tmp_path: Path) -> None:
    """Admissions and receipts of every segment and writer are counted; costs of another month are not."""
    folder = tmp_path / "main"
    folder.mkdir()
    bodies = [receipt(1), receipt(2, started_at="2026-10-31T23:59:59.000000Z")]
    records: list[dict[str, Any]] = [{"kind": "admitted", "body": {"request_id": bodies[0]["request_id"]}}]
    records += [{"kind": "receipt", "body": body} for body in bodies]
    for number, record in enumerate(records):
        (folder / f"{number}.jsonl").write_bytes(orjson.dumps(record) + b"\n")
    found = Books.read(tmp_path, MONTH)
    assert len(found.receipts) == 2
    assert len(found.admitted) == 1
    assert found.cost == Counter({"organization:org": 7, "project:proj": 7, "key:key_1": 7})


@pytest.mark.parametrize(
    "used", [{"budget_per_month": "0.00002"}, {"concurrent_requests": 1}, {"budget_per_month_reserved": "0.1"}]
)
def test_money_that_does_not_add_up_is_found(used: dict[str, Any]) -> None:
    """A budget whose settled sum is not its receipts', or with something reserved or running, is told."""
    rest = {"budget_per_month": "0.000021", "budget_per_month_reserved": "0", "concurrent_requests": 0}
    limits: list[dict[str, Any]] = [
        {"scope": "key", "id": "key_1", "used": rest},
        {"scope": "key", "used": None, "id": "*"},
    ]
    assert failed(checking.of_money(books(), limits)) == []
    limits[0]["used"] = rest | used
    assert len(failed(checking.of_money(books(), limits))) == 1


@pytest.mark.parametrize(("last_mb", "holds"), [(100.0, True), (109.0, True), (112.0, False), (88.0, False)])
def test_memory_that_is_not_flat_is_found(last_mb: float, *, holds: bool) -> None:
    """Memory that ends more than a tenth away from where it was after the warm-up is told; what came first is not."""
    held = [20.0, 60.0, *[100.0] * 6, last_mb, last_mb]
    samples = [replace(SAMPLE, asks=100 * number, memory_mb=mb) for number, mb in enumerate(held, 1)]
    assert checking.of_memory(samples).holds is holds
    many = [
        replace(SAMPLE, asks=100 * number, memory_mb=mb) for number, mb in enumerate([50.0, *[100.0] * 20, last_mb])
    ]
    assert checking.of_many_requests(many[1:]).holds is holds


@pytest.mark.parametrize(
    "left",
    [
        {"in_flight": 1},
        {"lent": 1},
        {"grants": 1},
        {"lag": 1},
        {"close_wait": 1},
        {"descriptors": {"sockets": 11, "pipes": 4}},
        {"descriptors": {"sockets": 10, "files": 9}},
        {"threads": 19},
    ],
)
def test_what_is_left_behind_is_found(left: dict[str, Any]) -> None:
    """A request, a slot, a grant, a connection, descriptors or threads that stay are told."""
    assert failed(checking.of_rest(SAMPLE, SAMPLE)) == []
    assert len(failed(checking.of_rest(SAMPLE, replace(SAMPLE, **left)))) == 1


def test_a_defect_in_the_log_is_found(tmp_path: Path) -> None:
    """A line of the server's log that tells of an unexpected error is told."""
    log = tmp_path / "server.log"
    log.write_text('{"event": "replica_restarting"}\n', encoding="utf-8")
    assert checking.of_log(log).holds
    log.write_text("Task exception was never retrieved\n", encoding="utf-8")
    assert not checking.of_log(log).holds


@pytest.mark.parametrize(
    ("ask", "answers"),
    [
        (ASK, []),
        (ASK, [answer(1, whole=False)]),
        (ASK, [answer(1, status=500)]),
        (ASK, [answer(1, request_id="")]),
        (ASK, [answer(1, stream=True, tail=b"data: {}\n\n")]),
    ],
)
def test_a_wrong_answer_is_found(ask: Ask, answers: list[Answer]) -> None:
    """An answer that is lost, cut, without an id or with a status that the request does not have is told."""
    tally = Tally()
    tally.begin(ask)
    tally.end(ask, answers)
    assert tally.wrong_count == 1
