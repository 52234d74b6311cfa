"""What the arbiter decides, in the journal, and the last of it at hand."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import structlog

from freehold.cluster.arbiter.decisions import Adopt, Decision, Place, Preempt, Refuse, Resume, Take, Wait
from freehold.errors import AuditUnavailable
from freehold.gateway.own_actions import action_body
from freehold.journal.recorder import Recorder
from freehold.journal.records import Kind, utc
from freehold.types.cluster import Workload

LAST: Final = 500
"""How many decisions are at hand."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, and about what.

    Args:
        what: `placed`, `adopted`, `resumed`, `waiting`, `refused`, `preempted` (asked to leave) or `ended` (told to).
        details: the decision's own values, as JSON has them.
    """

    what: str
    workload: Workload
    at_s: float
    details: dict[str, Any]


class Arbitration:
    """Takes down what is decided; see `freehold.cluster.desk.Minutes`.

    Args:
        journal: where to.

    Attributes:
        epoch: in which this gateway leads the cluster; None where it is the only one.
    """

    def __init__(self, journal: Recorder) -> None:
        self._journal = journal
        self.last: deque[Decided] = deque(maxlen=LAST)
        self.epoch: int | None = None
        self._refused: dict[str, Refuse] = {}

    def check(self) -> None:
        """See `Minutes.check`."""
        self._journal.check()

    def decided(self, decision: Decision, workload: Workload) -> None:
        """See `Minutes.decided`. What is decided already is carried out even if it cannot be recorded any more.

        A replica that is refused asks again after a while; the same refusal again is no new decision.
        """
        if self._repeated(decision):
            return
        what, details = _told(decision)
        self.last.append(Decided(what, workload, decision.at_s, details))
        about = {"work_class": workload.work_class.name.lower(), "at": utc(decision.at_s), **details}
        if self.epoch is not None:
            about["epoch"] = self.epoch
        body = action_body(
            f"cluster.workload.{what}",
            ("cluster.workload", workload.id),
            (workload.organization_id, workload.project_id),
            None,
            {"details": about},
        )
        try:
            recorded = self._journal.submit(Kind.ADMIN, body, durable=False)
        except AuditUnavailable as exc:
            log.error("decision_not_recorded", workload=workload.id, decision=what, reason=exc.message)  # noqa: TRY400
        else:
            recorded.add_done_callback(_written)

    def _repeated(self, decision: Decision) -> bool:
        """Whether the same was refused for the same reason before."""
        if not isinstance(decision, Refuse):
            self._refused.pop(decision.workload, None)
            return False
        before = self._refused.pop(decision.workload, None)
        self._refused[decision.workload] = decision
        while len(self._refused) > LAST:
            del self._refused[next(iter(self._refused))]
        return before is not None and (before.reason, before.detail) == (decision.reason, decision.detail)


def _written(recorded: "asyncio.Future[Any]") -> None:
    if not recorded.cancelled() and (error := recorded.exception()) is not None:
        log.error("decision_not_recorded", reason=str(error))


def _told(decision: Decision) -> tuple[str, dict[str, Any]]:
    """What was decided in a word, and its values."""
    match decision:
        case Place(_, nodes):
            return "resumed" if isinstance(decision, Resume) else "placed", {"nodes": list(nodes)}
        case Adopt(_, nodes):
            return "adopted", {"nodes": list(nodes)}
        case Preempt(_, in_favour_of, deadline_s):
            return "preempted", {"in_favour_of": in_favour_of, "deadline": utc(deadline_s)}
        case Take(_, reason):
            return "ended", {"reason": reason.value}
        case Wait(_, reason):
            return "waiting", {"reason": reason.value}
        case Refuse(_, reason, detail):
            return "refused", {"reason": reason.value, "detail": detail}
