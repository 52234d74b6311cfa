"""What the limits are rebuilt from at a start: folded over all records, and carried from segment to segment."""

from calendar import timegm
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Self, TypeAlias

from freehold.journal.records import Kind, Plain
from freehold.types.receipt import Outcome

SCOPES: Final = (
    ("organization", "organization_id"),
    ("project", "project_id"),
    ("key", "key_id"),
    ("end_user", "end_user"),
    ("deployment", "deployment"),
)
"""What a limit can be set on, and the field of a receipt that names it."""
PAIR: Final = "project_deployment"
"""What a project uses of a deployment; only its requests and tokens can be limited, so no money is counted."""

_ADMITTED, _RECEIPT, _REFUSED = Kind.ADMITTED.value, Kind.RECEIPT.value, Outcome.REFUSED.value

_Who: TypeAlias = tuple[str | None, str | None, str | None, str | None, str | None]
"""The values of the fields of `SCOPES`."""

WINDOW_S: Final = 60
KEPT_PERIODS: Final = 3
"""So many days, and so many months: this one, the one before, and one to spare for a clock that was wrong."""


class Carried:
    """The state of all limits after a record.

    Attributes:
        open: request id → the body of the `admitted` that has no receipt yet.
        spent: day (`2026-11-24`) or month (`2026-11`) in which requests started → `<scope>:<id>` → micro-units. The
            newest three of each are kept.
        recent: second since the epoch in which requests ended → `<scope>:<id>` → [requests, tokens]; the last 60
            before the newest receipt. What was refused does not count.
    """

    __slots__ = ("_day", "_recent", "_second", "_spent", "_sums", "open")

    def __init__(self) -> None:
        self.open: dict[str, Plain] = {}
        self._spent: dict[str, dict[str, int]] = {}
        self._recent: dict[int, dict[str, list[int]]] = {}
        self._day = self._second = ""
        self._sums: dict[tuple[_Who, bool], list[int]] = {}
        """Of receipts that began on that day and ended in that second, by whom they count on and whether they were
        refused: how many, their tokens and what they cost. Taken in together, which is why each costs little."""

    @property
    def spent(self) -> dict[str, dict[str, int]]:
        """See above."""
        self._take_in()
        return self._spent

    @property
    def recent(self) -> dict[int, dict[str, list[int]]]:
        """See above."""
        self._take_in()
        return self._recent

    def apply(self, kind: str, body: Plain) -> None:
        """Take one record in, in the order in which they stand."""
        if kind == _ADMITTED:
            self.open[body["request_id"]] = body
        elif kind == _RECEIPT:
            self.open.pop(body["request_id"], None)
            day, second = body["started_at"][:10], body["ended_at"][:19]
            if second != self._second or day != self._day:
                self._take_in()
                self._day, self._second = day, second
            get = body.get
            who = (get("organization_id"), get("project_id"), get("key_id"), get("end_user"), get("deployment"))
            key = (who, get("outcome") == _REFUSED)
            sums = self._sums.get(key)
            if sums is None:
                sums = self._sums[key] = [0, 0, 0]
            sums[0] += 1
            sums[1] += get("prompt_tokens", 0) + get("completion_tokens", 0)
            sums[2] += get("cost_micro", 0)

    def wire(self) -> Plain:
        """The state as it stands in a `segment` record."""
        return {
            "open": self.open,
            "spent": self.spent,
            "recent": {str(second): counts for second, counts in self.recent.items()},
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """The state that a `segment` record holds; changes to it change nothing in `wire`."""
        carried = cls()
        carried.open = dict(wire["open"])
        carried._spent = {period: dict(amounts) for period, amounts in wire["spent"].items()}
        carried._recent = {
            int(second): {name: list(count) for name, count in counts.items()}
            for second, counts in wire["recent"].items()
        }
        return carried

    def _take_in(self) -> None:
        """Add up what was kept of one day and one second."""
        kept, self._sums = self._sums, {}
        for (who, is_refused), (requests, tokens, cost) in kept.items():
            names = [f"{scope}:{name}" for (scope, _), name in zip(SCOPES, who, strict=True) if name is not None]
            self._spend(names, cost)
            if not is_refused:
                _, project, _, _, deployment = who
                if project is not None and deployment is not None:
                    names.append(f"{PAIR}:{project}/{deployment}")
                self._count(names, requests, tokens)

    def _spend(self, names: Sequence[str], cost: int) -> None:
        if not cost:
            return
        for period in (self._day, self._day[:7]):
            amounts = self._spent.get(period)
            if amounts is None:
                if not self._begin(period):
                    continue
                amounts = self._spent[period]
            for name in names:
                amounts[name] = amounts.get(name, 0) + cost

    def _begin(self, period: str) -> bool:
        """Make room for a day or month; False if it is older than all that are kept."""
        same = sorted((known for known in self._spent if len(known) == len(period)), reverse=True)
        if len(same) >= KEPT_PERIODS:
            if period < same[KEPT_PERIODS - 1]:
                return False
            for old in same[KEPT_PERIODS - 1 :]:
                del self._spent[old]
        self._spent[period] = {}
        return True

    def _count(self, names: Sequence[str], requests: int, tokens: int) -> None:
        second = _epoch(self._second)
        counts = self._recent.get(second)
        if counts is None:
            for far in [known for known in self._recent if abs(known - second) >= WINDOW_S]:
                del self._recent[far]
            counts = self._recent[second] = {}
        for name in names:
            count = counts.get(name)
            if count is None:
                counts[name] = [requests, tokens]
            else:
                count[0] += requests
                count[1] += tokens


def _epoch(at: str) -> int:
    """The whole seconds since the epoch of a time as `utc` writes it."""
    return _minute(at[:16]) + int(at[17:19])


@lru_cache(maxsize=256)
def _minute(at: str) -> int:
    return timegm((int(at[:4]), int(at[5:7]), int(at[8:10]), int(at[11:13]), int(at[14:16]), 0))
