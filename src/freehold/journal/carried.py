"""What the limits are rebuilt from at a start: folded over all records, and carried from segment to segment."""

from calendar import timegm
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Self

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

    __slots__ = ("open", "recent", "spent")

    def __init__(self) -> None:
        self.open: dict[str, Plain] = {}
        self.spent: dict[str, dict[str, int]] = {}
        self.recent: dict[int, dict[str, list[int]]] = {}

    def apply(self, kind: str, body: Plain) -> None:
        """Take one record in, in the order in which they stand."""
        if kind == _ADMITTED:
            self.open[body["request_id"]] = body
        elif kind == _RECEIPT:
            self.open.pop(body["request_id"], None)
            names = [f"{scope}:{body[name]}" for scope, name in SCOPES if name in body]
            self._spend(body, names)
            if body.get("outcome") != _REFUSED:
                if "project_id" in body and "deployment" in body:
                    names.append(f"{PAIR}:{body['project_id']}/{body['deployment']}")
                self._count(body, names)

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
        carried.spent = {period: dict(amounts) for period, amounts in wire["spent"].items()}
        carried.recent = {
            int(second): {name: list(count) for name, count in counts.items()}
            for second, counts in wire["recent"].items()
        }
        return carried

    def _spend(self, body: Plain, names: Sequence[str]) -> None:
        cost = body.get("cost_micro", 0)
        if not cost:
            return
        day = body["started_at"][:10]
        for period in (day, day[:7]):
            amounts = self.spent.get(period)
            if amounts is None:
                if not self._begin(period):
                    continue
                amounts = self.spent[period]
            for name in names:
                amounts[name] = amounts.get(name, 0) + cost

    def _begin(self, period: str) -> bool:
        """Make room for a day or month; False if it is older than all that are kept."""
        same = sorted((known for known in self.spent if len(known) == len(period)), reverse=True)
        if len(same) >= KEPT_PERIODS:
            if period < same[KEPT_PERIODS - 1]:
                return False
            for old in same[KEPT_PERIODS - 1 :]:
                del self.spent[old]
        self.spent[period] = {}
        return True

    def _count(self, body: Plain, names: Sequence[str]) -> None:
        second = _epoch(body["ended_at"])
        counts = self.recent.get(second)
        if counts is None:
            for far in [known for known in self.recent if abs(known - second) >= WINDOW_S]:
                del self.recent[far]
            counts = self.recent[second] = {}
        tokens = body.get("prompt_tokens", 0) + body.get("completion_tokens", 0)
        for name in names:
            count = counts.get(name)
            if count is None:
                counts[name] = [1, tokens]
            else:
                count[0] += 1
                count[1] += tokens


def _epoch(at: str) -> int:
    """The whole seconds since the epoch of a time as `utc` writes it."""
    return _minute(at[:16]) + int(at[17:19])


@lru_cache(maxsize=256)
def _minute(at: str) -> int:
    return timegm((int(at[:4]), int(at[5:7]), int(at[8:10]), int(at[11:13]), int(at[14:16]), 0))
