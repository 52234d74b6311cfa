"""Which past requests changed policies or limits would have refused, told from the journal. All of it blocks.

The journal is read as it lies, also while it is written, once for the policies and once more for the limits; in memory
are the counts, the requests that run at one time, and a bit for each record of a request that a policy denies.

What the journal does not tell is counted by itself and not guessed.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import Any, Final

from freehold.governance.policy import PolicySet
from freehold.governance.policy_cases import told
from freehold.journal.reader import Cursor, Line, parse_line, read_on, segment_numbers, segment_path
from freehold.journal.records import Kind, Plain
from freehold.types.policy import PolicyDecision, PolicyRequest
from freehold.types.receipt import Outcome

EXAMPLES: Final = 5
"""So many requests are named for each reason."""
SLACK_S: Final = 3600.0
"""How long before a moment reading begins: what ran then is known, and a clock that was set back does no harm."""
_ADMITTED, _RECEIPT = Kind.ADMITTED.value, Kind.RECEIPT.value
_REFUSED = Outcome.REFUSED.value
_DENIED: Final = "policy_denied"
_PAGE: Final = 4096


@dataclass(frozen=True, slots=True)
class Window:
    """The requests that are asked about: by when they arrived, as records write times."""

    since: str
    until: str

    def has(self, at: str) -> bool:
        """Whether a time is in it."""
        return self.since <= at < self.until


@dataclass(slots=True)
class Tally:
    """Requests, counted by reason and by whose they were, with a few of each reason by name."""

    total: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    keys: Counter[str] = field(default_factory=Counter)
    projects: Counter[str] = field(default_factory=Counter)
    deployments: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, body: Plain, reason: str) -> None:
        """Count one request."""
        self.total += 1
        self.reasons[reason] += 1
        self.keys[body.get("key_id") or "(none)"] += 1
        self.projects[body.get("project_id") or "(none)"] += 1
        self.deployments[body.get("deployment") or body.get("requested") or "(none)"] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < EXAMPLES:
            named.append(body["request_id"])


@dataclass(slots=True)
class Replay:
    """What a replay has found. `served` were let through then; all requests are ones of deployments."""

    served: Tally = field(default_factory=Tally)
    refused_then: Counter[str] = field(default_factory=Counter)
    """By the code of the error."""
    refused: Tally = field(default_factory=Tally)
    """Served then, and refused by what is asked about."""
    clamped: Tally = field(default_factory=Tally)
    """Served then, and cut by what is asked about."""
    undetermined: Tally = field(default_factory=Tally)
    """Served then, and the journal does not tell all that a policy needs."""
    allowed: Tally = field(default_factory=Tally)
    """Denied by a policy then, and allowed by what is asked about, as far as policies go."""
    begins: str | None = None
    """When the oldest record that is still there was written."""


class Marks:
    """A set of records: a bit for each number up to the highest, in pages that are made where a bit is set."""

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int], bytearray] = {}

    def add(self, writer: str, seq: int) -> None:
        """Mark a record."""
        page, bit = divmod(seq, _PAGE * 8)
        self._pages.setdefault((writer, page), bytearray(_PAGE))[bit >> 3] |= 1 << (bit & 7)

    def has(self, writer: str, seq: int) -> bool:
        """Whether it is marked."""
        page, bit = divmod(seq, _PAGE * 8)
        found = self._pages.get((writer, page))
        return found is not None and bool(found[bit >> 3] >> (bit & 7) & 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record and the writer that wrote it."""

    writer: str
    line: Line


def entries(folders: Sequence[Path], since_s: float) -> Iterator[Entry]:
    """The records of all writers from some time before a moment on, in the order of their times.

    Raises (while iterating):
        JournalDamaged: a line is no record.
    """
    return merge(*(_entries(folder, since_s - SLACK_S) for folder in folders), key=lambda entry: entry.line.at)


def _entries(folder: Path, since_s: float) -> Iterator[Entry]:
    for line in read_on(folder, Cursor(segment=_segment(folder, since_s))):
        yield Entry(folder.name, line)


def _segment(folder: Path, since_s: float) -> int:
    """The newest segment that begins before a moment; else the oldest there is."""
    numbers = segment_numbers(folder)
    for number in reversed(numbers):
        if seconds(_first(folder, number).at) <= since_s:
            return number
    return numbers[0] if numbers else 1


def _first(folder: Path, number: int) -> Line:
    path = segment_path(folder, number)
    with path.open("rb") as file:
        return parse_line(path, number, 0, file.readline())


def seconds(at: str) -> float:
    """A time of a record as seconds since the epoch."""
    return datetime.fromisoformat(at).timestamp()


def oldest(folders: Sequence[Path]) -> str | None:
    """When the oldest record was written."""
    firsts = [_first(folder, numbers[0]).at for folder in folders if (numbers := segment_numbers(folder))]
    return min(firsts, default=None)


def replay_policies(
    folders: Sequence[Path], policies: PolicySet, window: Window, found: Replay
) -> tuple[Marks, dict[str, int]]:
    """Decide each past request anew.

    Args:
        folders: the writers' folders.
        policies: that decide.
        window: which requests.
        found: is told.

    Returns:
        The admissions of requests that are denied, and the last record that was read of each writer.
    """
    denied, ends = Marks(), dict[str, int]()
    open_at: dict[str, list[tuple[str, int]]] = {}
    for entry in entries(folders, seconds(window.since)):
        line = entry.line
        ends[entry.writer] = line.seq
        if line.kind == _ADMITTED:
            open_at.setdefault(line.body["request_id"], []).append((entry.writer, line.seq))
        elif line.kind == _RECEIPT:
            admissions = open_at.pop(line.body["request_id"], [])
            if window.has(line.body["started_at"]) and _of_deployment(line.body) and _judge(line.body, policies, found):
                for writer, seq in admissions:
                    denied.add(writer, seq)
    return denied, ends


def _of_deployment(body: Plain) -> bool:
    """Whether a deployment was asked for something; one that was interrupted tells only which it was admitted to."""
    return "requested" in body or "deployment" in body


def _judge(body: Plain, policies: PolicySet, found: Replay) -> bool:
    """Count a request; whether it was served and is now denied."""
    if body["outcome"] == _REFUSED:
        code = body.get("error_code", "")
        found.refused_then[code] += 1
        if code == _DENIED and _decided(body, policies).allowed:
            found.allowed.add(body, "allowed by the policies")
        return False
    found.served.add(body, "served")
    decision = _decided(body, policies)
    if decision.allowed:
        then = body.get("decision", {}).get("clamped", {})
        if any(name not in then for name in decision.clamped):
            found.clamped.add(body, decision.reason.partition("; ")[2])
    elif decision.known:
        found.refused.add(body, reason(decision))
        return True
    else:
        found.undetermined.add(body, reason(decision))
    return False


def _decided(body: Plain, policies: PolicySet) -> PolicyDecision:
    """The decision on the deployment that served and, if the caller named another, on that too."""
    asked = parameters(body)
    request = facts(body)
    decision = policies.decide(request, asked or {})
    if decision.allowed and asked is None and (ceilings := policies.ceilings(request)):
        names = ", ".join(ceilings)
        return PolicyDecision(
            allowed=False,
            policies=decision.policies,
            rule="ceilings",
            reason=f"what was asked for is not known, and there are ceilings on {names}",
            known=False,
        )
    if decision.allowed and body.get("requested", body.get("deployment")) != body.get("deployment"):
        named = policies.decide(_named(body), asked or {})
        return decision if named.allowed else named
    return decision


def reason(decision: PolicyDecision) -> str:
    """A denial's reason without the numbers of one request, so that it can be counted."""
    if decision.known and decision.rule.startswith("ceilings."):
        return f"policy '{decision.policies[0]}', rule '{decision.rule}'"
    return told(decision)


def facts(body: Plain) -> PolicyRequest:
    """Who asked for what, as far as a receipt tells.

    A receipt with roles is one that would also tell key, zone and content filter, if there were any, and whose
    `principal` is the member; in older ones it is the name of the key.
    """
    tells = "roles" in body
    return PolicyRequest(
        organization=body.get("organization_id"),
        project=body.get("project_id"),
        roles=frozenset(body["roles"]) if tells else None,
        member=body.get("principal") if tells else None,
        key=body.get("key_id", "" if tells else None),
        deployment=body.get("deployment") or body.get("requested") or "",
        model=body.get("model"),
        zone=body.get("zone", "" if tells and "model" in body else None),
        content_filter=body.get("content_filter", "" if tells and "model" in body else None),
    )


def _named(body: Plain) -> PolicyRequest:
    """The same for the deployment that the caller named, where another served: its name is all there is."""
    return facts({k: v for k, v in body.items() if k not in {"deployment", "model", "zone", "content_filter"}})


def parameters(body: Plain) -> Mapping[str, Any] | None:
    """What a receipt says was asked for; None if it does not say."""
    found: Mapping[str, Any] | None = body.get("parameters")
    return None if found is None else {**found, "prompt_bytes": body.get("prompt_bytes", 0)}
