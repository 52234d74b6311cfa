"""What the filter did to one request: the `filter` of its receipt, and the annotations of its answer."""

from freehold.content_filter.examination import Examiner
from freehold.content_filter.filter import Filter
from freehold.types.content_filter import Side
from freehold.types.receipt import RecordBody
from freehold.types.verdict import Verdict


class Report:
    """Collects it while the request runs.

    Args:
        policy: under which its texts are examined.
        asynchronous: whether its stream is sent before it is examined.
        whole: whether its answer is wanted in one piece.
    """

    def __init__(self, policy: Filter, *, asynchronous: bool = False, whole: bool = False) -> None:
        self.whole = whole
        self.prompts: list[Verdict] = []
        """On each prompt, in their order."""
        self.masked = 0
        """How many pieces of texts were hidden."""
        self.spent_s = 0.0
        """Time that examining took."""
        self.held_s: float | None = None
        """How much later the first piece left than it came; None where none was held back."""
        self._policy = policy
        self._asynchronous = asynchronous
        self._scanned: set[Side] = set()
        self._failed: set[Side] = set()
        self._found: dict[Side, dict[str, str]] = {Side.PROMPT: {}, Side.COMPLETION: {}}
        self._blocked: dict[str, None] = {}

    def add(self, verdict: Verdict) -> None:
        """Note a verdict on one of the request's texts."""
        if not (verdict.found or verdict.blocked or verdict.failed):
            return
        found = self._found[verdict.side]
        for name, label in verdict.found.items():
            if name not in found or _RANK.get(label, 0) > _RANK.get(found[name], 0):
                found[name] = label
        for name in verdict.blocked:
            self._blocked[f"{verdict.side.value}:{name}"] = None
        if verdict.failed:
            self._failed.add(verdict.side)

    def examined(self, examiner: Examiner) -> None:
        """Note that an examiner is done: how long it took, and whether it failed."""
        self.spent_s += examiner.spent_s
        if examiner.failed:
            self._failed.add(examiner.side)

    def scanned(self, side: Side) -> None:
        """Note that a half of the request was examined to its end, by every detector."""
        self._scanned.add(side)

    def record(self) -> RecordBody:
        """For the receipt; docs/reference/journal.md tells what each field means."""
        policy = self._policy
        record = RecordBody(
            policy=policy.settings.name,
            sha256=policy.sha256,
            mode="asynchronous" if self._asynchronous else "blocking",
            scanned=[name for side, name in _SIDES if side in self._scanned and side not in self._failed],
        )
        if self._failed:
            record["failed"] = [name for side, name in _SIDES if side in self._failed]
        for side, name in _SIDES:
            if self._found[side]:
                record[name] = self._found[side]
        if self._blocked:
            record["blocked"] = list(self._blocked)
        if self.masked:
            record["masked"] = self.masked
        record["detectors"] = policy.versions
        record["examine_us"] = round(self.spent_s * 1e6)
        if self.held_s is not None:
            record["held_us"] = round(self.held_s * 1e6)
        return record


_SIDES = tuple((side, side.value) for side in Side)
_RANK = {"low": 1, "medium": 2, "high": 3}
