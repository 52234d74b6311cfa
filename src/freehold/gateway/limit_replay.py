"""Which past requests changed limits would have refused: the ledger that serves, on the journal's time. It blocks.

The limits begin at the window's beginning, as if they had been set then: what was spent before in its month and day is
spent, and limits per minute begin unused. What runs is reserved for and settled when it was.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from freehold.errors import RateLimited
from freehold.gateway.ledger import Grant, Ledger
from freehold.gateway.policy_replay import Marks, Replay, Window, entries, seconds
from freehold.governance.limits import UNLIMITED, Limits, effective
from freehold.journal.carried import SCOPES
from freehold.journal.records import Kind, Plain
from freehold.types.limits import EVERY, Claim, LimitSettings, Scope, Subject, pair_id

_ADMITTED, _RECEIPT = Kind.ADMITTED.value, Kind.RECEIPT.value
_MIDNIGHT: Final = "T00:00:00.000000Z"


class LimitReplay:
    """A ledger that lives through the past once more.

    Args:
        limits: of each subject.
        window: from when on they hold, and which requests are counted.
        found: is told of those that are refused.
    """

    def __init__(self, limits: Mapping[Subject, Limits], window: Window, found: Replay) -> None:
        self._limits = limits
        self._window = window
        self._found = found
        self._now_s = 0.0
        self._holds = False
        self._ledger = Ledger(self._effective, lambda: self._now_s)
        self._open: dict[str, Grant | None] = {}

    def admitted(self, at: str, body: Plain) -> None:
        """Let a request in, or move it to the deployment that served it in the end; or refuse it, and count that."""
        self._go_to(at)
        request_id = body["request_id"]
        grant = self._open.get(request_id)
        if grant is None and request_id in self._open:
            return  # it was refused before, and did not come as far as another deployment
        claim = _claim(body)
        try:
            if grant is None:
                self._open[request_id] = self._ledger.reserve(claim)
            else:
                grant.move(claim)
        except RateLimited as exc:
            if grant is not None:
                grant.cancel()
            self._open[request_id] = None
            if self._window.has(body["started_at"]):
                self._found.refused.add(body, f"limit of {exc.limit}")

    def ended(self, at: str, body: Plain) -> None:
        """Settle a request with what it used then."""
        self._go_to(at)
        grant = self._open.pop(body["request_id"], None)
        if grant is not None:
            grant.settle(body.get("prompt_tokens", 0) + body.get("completion_tokens", 0), body.get("cost_micro", 0))

    def _go_to(self, at: str) -> None:
        self._now_s = max(self._now_s, seconds(at))
        if not self._holds and at >= self._window.since:
            self._holds = True
            for scope in Scope:
                self._ledger.refresh(scope, EVERY)

    def _effective(self, subject: Subject) -> Limits:
        return effective(self._limits, subject) if self._holds else UNLIMITED


def replay_limits(
    folders: Sequence[Path],
    limits: Mapping[Subject, Limits],
    window: Window,
    denied: tuple[Marks, Mapping[str, int]],
    found: Replay,
) -> None:
    """Live through the past with other limits.

    Args:
        folders: the writers' folders.
        limits: of each subject.
        window: from when on they hold, and which requests are counted.
        denied: what `replay_policies` gave: requests that a policy denies come to no limit.
        found: is told.
    """
    marks, ends = denied
    past = LimitReplay(limits, window, found)
    for entry in entries(folders, seconds(counted_from(limits.values(), window))):
        line = entry.line
        if line.seq > ends.get(entry.writer, 0) or line.kind not in {_ADMITTED, _RECEIPT}:
            continue
        if line.kind == _RECEIPT:
            past.ended(line.at, line.body)
        elif (
            "deployment" in line.body  # what has none comes to no limit
            and not marks.has(entry.writer, line.seq)
            and line.body["started_at"] < window.until
        ):
            past.admitted(line.at, line.body)


def counted_from(limits: Iterable[Limits], window: Window) -> str:
    """From when on spending counts: the beginning of the window's first month or day, where there are budgets."""
    limits = tuple(limits)
    if any(each.budget_per_month is not None for each in limits):
        return window.since[:8] + "01" + _MIDNIGHT
    if any(each.budget_per_day is not None for each in limits):
        return window.since[:10] + _MIDNIGHT
    return window.since


def end_users_named(settings: Iterable[LimitSettings]) -> bool:
    """Whether some limits are of end users by the names that callers give."""
    return any(each.scope is Scope.END_USER and each.id != EVERY for each in settings)


def _claim(body: Plain) -> Claim:
    """What a request asked for."""
    subjects = [Subject(Scope(scope), body[name]) for scope, name in SCOPES if name in body]
    if "project_id" in body and "deployment" in body:
        subjects.append(Subject(Scope.PROJECT_DEPLOYMENT, pair_id(body["project_id"], body["deployment"])))
    return Claim(
        subjects=tuple(subjects),
        tokens=body["reserved_tokens"],
        cost_micro=body["reserved_micro"],
        at=seconds(body["started_at"]),
    )
