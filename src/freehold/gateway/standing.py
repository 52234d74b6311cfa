"""How each subject stands with its limits per minute and its concurrent requests.

There may be as many subjects as end users in the world, so a subject at rest is forgotten: it stands as a new one
would. What was spent is kept elsewhere, see budget.py.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from freehold.gateway.leases_book import Holdings
from freehold.gateway.leases_held import Holding
from freehold.gateway.rate import Bucket, duration
from freehold.governance.limits import UNLIMITED, Limits
from freehold.types.leases import CONCURRENT, REQUESTS, TOKENS
from freehold.types.limits import EVERY, Scope, Subject

_RESTING = 1000
"""So many subjects are kept though they may be at rest, so that the busiest are not looked up anew all the time."""


class Standing:
    """One subject's limits and what is used of them now.

    Args:
        subject: whose.
        key: the subject as text.
        limits: its limits.
        now_us: the time, microseconds.
        leases: where several gateways share the limits, what this one holds of them.
    """

    __slots__ = ("_leases", "key", "limited", "limits", "open", "requests", "slots", "subject", "tokens")

    def __init__(self, subject: Subject, key: str, limits: Limits, now_us: int, leases: Holdings | None = None) -> None:
        self._leases = leases
        self.subject = subject
        self.key = key
        self.open = 0
        """Grants that are not settled."""
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self.slots: Holding | None = None
        """Where several gateways share the limit of concurrent requests, what this one holds of it."""
        self.change(limits, now_us)

    def change(self, limits: Limits, now_us: int) -> None:
        """Hold it to other limits from now on; what is used and open remains so."""
        self.limits = limits
        self.limited = limits != UNLIMITED
        self.requests = self._changed(REQUESTS, self.requests, limits.requests_per_minute, now_us)
        self.tokens = self._changed(TOKENS, self.tokens, limits.tokens_per_minute, now_us)
        if self._leases is not None and limits.concurrent_requests is not None:
            self.slots = self._leases.holding(CONCURRENT, self.subject, self.key, lambda: (self.open, 0))

    def refill(self, now_us: int) -> None:
        """Bring its buckets up to the time."""
        if self.requests is not None:
            self.requests.refill(now_us)
        if self.tokens is not None:
            self.tokens.refill(now_us)

    def recall(self, requests: int, tokens: int, now_us: int) -> None:
        """Count what was used before a restart."""
        self.refill(now_us)
        if self.requests is not None:
            self.requests.recall(requests)
        if self.tokens is not None:
            self.tokens.recall(tokens)

    def at_rest(self, now_us: int) -> bool:
        """Whether nothing of it would be lost if it were forgotten."""
        if self.open:
            return False
        self.refill(now_us)
        return all(bucket is None or not bucket.full_in_us for bucket in (self.requests, self.tokens))

    def _changed(self, measure: str, bucket: Bucket | None, limit: int | None, now_us: int) -> Bucket | None:
        if limit is None:
            return None
        if bucket is not None:
            bucket.change(limit, now_us)
            return bucket
        if self._leases is not None:
            return self._leases.bucket(measure, self.subject, self.key, limit)
        return Bucket(limit, now_us)


class Standings:
    """All subjects that are not at rest, and a few that are.

    Args:
        effective: gives a subject's limits.
        leases: where several gateways share the limits, what this one holds of them.
    """

    def __init__(self, effective: Callable[[Subject], Limits], leases: Holdings | None = None) -> None:
        self._effective = effective
        self.leases = leases
        self._by_key: OrderedDict[str, Standing] = OrderedDict()
        self._unseen = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def of(self, subject: Subject, now_us: int) -> Standing:
        """How a subject stands."""
        key = subject.scope + ":" + subject.id  # as str(subject), in a tenth of the time
        return self._by_key.get(key) or self._add(subject, key, now_us)

    def all_of(self, subjects: Iterable[Subject], now_us: int) -> list[Standing]:
        """How several subjects stand."""
        by_key, found = self._by_key, []
        for subject in subjects:
            key = subject.scope + ":" + subject.id
            found.append(by_key.get(key) or self._add(subject, key, now_us))
        return found

    def find(self, subject: Subject) -> Standing | None:
        """How a subject stands, unless it is at rest and forgotten."""
        return self._by_key.get(str(subject))

    def refresh(self, scope: Scope, subject_id: str, now_us: int) -> None:
        """Look up a subject's limits anew; all of the scope's for the id `*`."""
        for standing in self._by_key.values():
            subject = standing.subject
            if subject.scope is scope and subject_id in {EVERY, subject.id}:
                standing.change(self._effective(subject), now_us)

    def _add(self, subject: Subject, key: str, now_us: int) -> Standing:
        self._unseen += 1
        added = self._by_key[key] = Standing(subject, key, self._effective(subject), now_us, self.leases)
        return added

    def forget_some(self, now_us: int) -> None:
        """For each subject that was added, look at the two that were not looked at for longest; forget those at rest.

        So their number stays within what is in use and `_RESTING`, and no request waits for a great clearing. Not to
        be called between finding how a subject stands and opening a grant for it.
        """
        while self._unseen:
            self._unseen -= 1
            for _ in range(2):
                if len(self._by_key) > _RESTING:
                    key, standing = self._by_key.popitem(last=False)
                    if not standing.at_rest(now_us):
                        self._by_key[key] = standing


def rate_headers(standings: Sequence[Standing], now_us: int) -> dict[str, str]:
    """`x-ratelimit-*` of the limit that leaves the least, of requests and of tokens; nothing where none is set.

    As OpenAI documents them under "Rate limits in headers": reset is the time until the limit is untouched again.
    """
    requests: Bucket | None = None
    tokens: Bucket | None = None
    least_requests = least_tokens = 0
    for standing in standings:
        if not standing.limited:
            continue
        bucket = standing.requests
        if bucket is not None:
            remaining = bucket.left(now_us)
            if requests is None or remaining < least_requests:
                requests, least_requests = bucket, remaining
        bucket = standing.tokens
        if bucket is not None:
            remaining = bucket.left(now_us)
            if tokens is None or remaining < least_tokens:
                tokens, least_tokens = bucket, remaining
    headers: dict[str, str] = {}
    if requests is not None:
        headers["x-ratelimit-limit-requests"] = str(requests.limit)
        headers["x-ratelimit-remaining-requests"] = str(least_requests)
        headers["x-ratelimit-reset-requests"] = duration(requests.full_in_us)
    if tokens is not None:
        headers["x-ratelimit-limit-tokens"] = str(tokens.limit)
        headers["x-ratelimit-remaining-tokens"] = str(least_tokens)
        headers["x-ratelimit-reset-tokens"] = duration(tokens.full_in_us)
    return headers
