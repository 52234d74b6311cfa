"""The journal folded for reconciliation: sums by day and deployment, what is open, and what each engine did."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from freehold.journal.projection_flags import flags_of
from freehold.journal.projection_rows import micro_of, row_of, stretch_of
from freehold.journal.reader import Cursor, Line, read_lines
from freehold.journal.records import Kind
from freehold.store.usage_checks import DaySum
from freehold.store.usage_tables import DAY_US
from freehold.store.usage_writing import ROW, STRETCH, Row
from freehold.types.engine import EngineCounters
from freehold.types.receipt import Outcome

CHUNK_RECORDS: Final = 500
MAX_GAPS: Final = 200
_EXACT: Final = {Outcome.FINISHED, Outcome.REFUSED}
"""Outcomes after which an engine has made exactly what the receipt says."""
_INDEX: Final = {name: ROW.index(name) for name in ROW}
_STRETCH_ID: Final = STRETCH.index("stretch_id")


@dataclass(slots=True)
class Gaps:
    """What does not agree: the first `MAX_GAPS` in words, and how many there are."""

    named: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, gap: str) -> None:
        """Note one."""
        self.count += 1
        if self.count <= MAX_GAPS:
            self.named.append(gap)


@dataclass(slots=True)
class EngineUse:
    """What receipts say of one running engine.

    Args:
        since_us: when it started, in microseconds since the epoch; receipts that ended before are another's.
        finished: requests that it finished by the time at which it was asked; `prompt_tokens` and
            `completion_tokens` are what they used.
        later_prompt_tokens, later_completion_tokens: the same with what ended by the time at which the journal was.
        inexact: whether it may have made more than that: something failed or was cut off, or it does not count.
    """

    since_us: int
    finished: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    later_prompt_tokens: int = 0
    later_completion_tokens: int = 0
    inexact: bool = False


@dataclass(slots=True)
class Fold:
    """What was read of a journal so far.

    Args:
        asked: the last record that was durable when the engines were asked.
        engines: replica → what receipts say of it.
        gaps: what does not fit together.
        open: request id → its record's number and deployment, for requests without a receipt.
        days: (day in microseconds, deployment) → [requests, tokens, micro-units].
        retried: deployments of which a replica failed a request that another one took over.
        stretches: the ids of the stretches of trainings.
    """

    asked: int
    engines: dict[str, EngineUse]
    gaps: Gaps = field(default_factory=Gaps)
    open: dict[str, tuple[int, str]] = field(default_factory=dict)
    days: dict[tuple[int, str], list[int]] = field(default_factory=dict)
    retried: set[str] = field(default_factory=set)
    stretches: set[str] = field(default_factory=set)
    first: int = 0
    last: int = 0
    records: int = 0
    receipts: int = 0

    def take(self, line: Line, writer: str) -> Row | None:
        """Fold one record; the row that it should be in the database, if it is a receipt."""
        if not self.records:
            self.first = line.seq
            self._carry(line)
        elif line.seq != self.last + 1:
            self.gaps.add(f"the journal has no record between {self.last} and {line.seq}")
        self.records += 1
        self.last = line.seq
        if line.kind == Kind.ADMITTED:
            self.open[line.body["request_id"]] = (line.seq, line.body.get("deployment", ""))
            return None
        if line.kind != Kind.RECEIPT:
            return None
        self.receipts += 1
        self.open.pop(line.body["request_id"], None)
        self._use(line)
        row = row_of(line, writer)
        add_row(self.days, row)
        return row

    def _carry(self, line: Line) -> None:
        """Requests that were open when the oldest segment began; those before it are retired."""
        for request_id, body in line.body.get("carried", {}).get("open", {}).items():
            self.open[request_id] = (line.seq, body.get("deployment", ""))

    def _use(self, line: Line) -> None:
        get = line.body.get
        if get("attempt", 0) > 1:
            self.retried |= {str(get(name)) for name in ("deployment", "spilled_from", "requested") if get(name)}
        use = self.engines.get(get("replica", ""))
        if use is None or get("replay_of") or micro_of(line.body["ended_at"]) < use.since_us:
            return
        if get("estimated"):
            use.inexact = True
            return
        use.inexact |= line.body["outcome"] not in _EXACT
        use.later_prompt_tokens += get("prompt_tokens", 0)
        use.later_completion_tokens += get("completion_tokens", 0)
        if line.seq <= self.asked:
            use.finished += line.body["outcome"] == Outcome.FINISHED
            use.prompt_tokens += get("prompt_tokens", 0)
            use.completion_tokens += get("completion_tokens", 0)


def add_row(days: dict[tuple[int, str], list[int]], row: Row) -> None:
    """Add a row to the sums by day and deployment."""
    started_at: int = row[_INDEX["started_at"]]
    sums = days.setdefault((started_at - started_at % DAY_US, row[_INDEX["deployment"]]), [0, 0, 0])
    sums[0] += 1
    sums[1] += row[_INDEX["prompt_tokens"]] + row[_INDEX["completion_tokens"]]
    sums[2] += row[_INDEX["cost_micro"]]


@dataclass(frozen=True, slots=True)
class Expected:
    """What some records should be in the database.

    Args:
        rows: the receipts' rows, by number.
        flags: what was flagged in them.
        stretches: of trainings, by id; those that were not recorded before.
    """

    rows: dict[int, Row]
    flags: set[Row]
    stretches: dict[str, Row]


def read_rows(folder: Path, fold: Fold, after: Cursor, until: Cursor) -> tuple[Cursor, Expected]:
    """Fold the next records in a thread: where they end, and what they should be in the database."""
    lines = read_lines(folder, after, until, CHUNK_RECORDS)
    rows = {line.seq: row for line in lines if (row := fold.take(line, folder.name)) is not None}
    flags = {flag for line in lines if line.seq in rows for flag in flags_of(line, folder.name)}
    return (lines[-1].after if lines else after), Expected(rows, flags, _stretches(lines, fold, folder.name))


def _stretches(lines: Sequence[Line], fold: Fold, writer: str) -> dict[str, Row]:
    """The rows of those stretches of trainings that stand there for the first time."""
    found: dict[str, Row] = {}
    for row in (stretch_of(line, writer) for line in lines if line.kind == Kind.TRAINING):
        if row[_STRETCH_ID] not in fold.stretches:
            fold.stretches.add(row[_STRETCH_ID])
            found[row[_STRETCH_ID]] = row
    return found


def receipts_of(folder: Path, after: Cursor, until: Cursor) -> tuple[Cursor, set[str]]:
    """The ids of the requests whose receipts come next, and where that ends."""
    lines = read_lines(folder, after, until, CHUNK_RECORDS)
    ids = {line.body["request_id"] for line in lines if line.kind == Kind.RECEIPT}
    return (lines[-1].after if lines else until), ids


def differences(expected: Row, found: Row) -> list[str]:
    """The columns in which two rows differ."""
    return [name for name, here, there in zip(ROW, expected, found, strict=True) if here != there]


def engine_gaps(
    counters: Sequence[tuple[str, str, EngineCounters]], fold: Fold, running: set[str]
) -> list[dict[str, Any]]:
    """What engines say beside what receipts say; where that cannot be, a gap.

    Args:
        counters: (deployment, replica, what it says).
        fold: the whole journal.
        running: deployments of which requests run.
    """
    compared = []
    for deployment, replica, made in counters:
        use = fold.engines[replica]
        loose = use.inexact or not made.exact or deployment in running or deployment in fold.retried
        figures = (
            ("prompt", made.prompt_tokens, use.prompt_tokens, use.later_prompt_tokens),
            ("completion", made.completion_tokens, use.completion_tokens, use.later_completion_tokens),
        )
        engine = f"the engine of replica {replica} of '{deployment}'"
        for name, counted, told, later in figures:
            if counted < told:
                fold.gaps.add(f"{engine} counts {counted} {name} tokens, and its receipts {told}")
            elif counted > later and not loose:
                fold.gaps.add(f"{engine} counts {counted} {name} tokens, and its receipts only {later}")
        if made.requests is not None and made.requests < use.finished:
            fold.gaps.add(f"{engine} counts {made.requests} requests, and {use.finished} receipts are finished")
        compared.append(
            {
                "deployment": deployment,
                "replica": replica,
                "engine": {
                    "requests": made.requests,
                    "prompt_tokens": made.prompt_tokens,
                    "completion_tokens": made.completion_tokens,
                },
                "receipts": {
                    "requests": use.finished,
                    "prompt_tokens": use.later_prompt_tokens,
                    "completion_tokens": use.later_completion_tokens,
                },
                "exact": not loose,
            }
        )
    return compared


def day_figures(days: dict[tuple[int, str], list[int]]) -> dict[tuple[int, str], DaySum]:
    """The sums as values."""
    return {key: DaySum(*key, *sums) for key, sums in days.items()}
