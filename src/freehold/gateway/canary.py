"""Canaries: a candidate that gets a share of a deployment's requests, and is given up where it does worse.

Which requests it gets is decided by a keyed digest of whom they are for, so that a caller keeps its arm and nobody can
choose one. What cannot be served by the candidate is served by the deployment's own model.
"""

import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final, TypeAlias

import structlog

from freehold.catalog.deployments import Deployment
from freehold.gateway.account import EVALUATED, Account
from freehold.types.condition import Judgement, parse_condition
from freehold.types.deployment import CanarySettings, DeploymentSettings

log = structlog.get_logger(__name__)

SUFFIX: Final = "~canary"
"""What the supervisor calls the candidate of a deployment; no deployment's name has a tilde."""
NOTE: Final = "canary"
"""Under which of a receipt's `parameters` the arm stands."""
FAILED: Final = "candidate_failed"
"""The arm of a request that was the candidate's, and that the deployment's own model had to serve."""
_MOST_OUTCOMES: Final = 100_000
_UNIT: Final = 1 << 64


@dataclass(slots=True)
class Arm:
    """What became of one arm's newest requests: when each ended, whether it failed, and how many seconds it took."""

    outcomes: deque[tuple[float, bool, float]] = field(default_factory=lambda: deque(maxlen=_MOST_OUTCOMES))

    def since(self, at: float) -> "Arm":
        """The arm without what ended before; that is forgotten."""
        while self.outcomes and self.outcomes[0][0] < at:
            self.outcomes.popleft()
        return self

    def measured(self) -> dict[str, float]:
        """`errors` and, where a request succeeded, `latency_p50` in seconds."""
        if not self.outcomes:
            return {}
        seconds = [took for _, failed, took in self.outcomes if not failed]
        found = {"errors": 1 - len(seconds) / len(self.outcomes)}
        return found | ({"latency_p50": median(seconds)} if seconds else {})


@dataclass(slots=True)
class _Watch:
    """A canary that runs: its candidate as a deployment, and both arms."""

    digest: str
    candidate: Deployment
    arms: dict[bool, Arm]
    over: bool = False


@dataclass(frozen=True, slots=True)
class Breach:
    """That a canary's condition holds: the candidate is to be given up."""

    deployment: Deployment
    canary: CanarySettings
    judgement: Judgement


OnBreach: TypeAlias = Callable[[Breach], None]


class Canaries:
    """Chooses the arms of requests, and watches what becomes of them.

    Args:
        key: of the digests that choose.
        clock: seconds, on a clock that never jumps.
    """

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._key = key
        self._clock = clock
        self._watches: dict[str, _Watch] = {}
        self._over: set[str] = set()
        self._listeners: list[OnBreach] = []
        self._evaluated: dict[str, tuple[Mapping[str, float], Mapping[str, float]]] = {}

    def on_breach(self, listener: OnBreach) -> None:
        """Have something done when a candidate is to be given up; it gets no requests any more then."""
        self._listeners.append(listener)

    def end(self, digest: str) -> None:
        """Have a canary get no requests any more."""
        self._over.add(digest)

    @property
    def over(self) -> frozenset[str]:
        """The digests of the canaries that get no requests any more."""
        return frozenset(self._over)

    def evaluated(self, digest: str, candidate: Mapping[str, float], base: Mapping[str, float]) -> None:
        """Take note of the newest evaluations of a canary's candidate and of the deployment's own model."""
        self._evaluated[digest] = candidate, base

    def candidate_of(self, settings: DeploymentSettings) -> DeploymentSettings | None:
        """What the supervisor is to run for a deployment's canary; None where there is none, or it is over."""
        if settings.canary is None or digest_of(settings) in self._over:
            return None
        return _candidate(settings, settings.canary)

    def choose(self, deployment: Deployment, account: Account) -> Deployment:
        """The deployment that a request is for, or its candidate; the account is told which.

        What an evaluation asks, it asks of the deployment's own model: its result is told as that model's.
        """
        settings = deployment.settings
        if settings.canary is None or EVALUATED in account.notes:
            return deployment
        watch = self._watch(deployment, settings.canary)
        if watch.over or watch.digest in self._over:
            return deployment
        chosen = self._share(watch.digest, account) < settings.canary.share
        account.notes[NOTE] = "candidate" if chosen else "present"
        return watch.candidate if chosen else deployment

    def ended(self, deployment: Deployment, *, candidate: bool, failed: bool, took_s: float) -> None:
        """Take note of what became of a request; whether the candidate is to be given up is decided here."""
        canary = deployment.settings.canary
        if canary is None:
            return
        watch = self._watch(deployment, canary)
        now = self._clock()
        watch.arms[candidate].outcomes.append((now, failed, took_s))
        if canary.rollback_if is not None and candidate and not watch.over and watch.digest not in self._over:
            self._judge(deployment, canary, watch, canary.rollback_if)

    def judge(self, deployment: Deployment) -> None:
        """Decide once more, as after a new evaluation."""
        canary = deployment.settings.canary
        if canary is not None and canary.rollback_if is not None:
            watch = self._watch(deployment, canary)
            if not watch.over and watch.digest not in self._over:
                self._judge(deployment, canary, watch, canary.rollback_if)

    def measured(self, deployment: Deployment) -> dict[str, tuple[int, dict[str, float]]]:
        """How many requests of the window each arm had, and what they came to."""
        canary = deployment.settings.canary
        if canary is None:
            return {}
        watch, since = self._watch(deployment, canary), self._clock() - canary.window_s
        arms = {"candidate": watch.arms[True].since(since), "present": watch.arms[False].since(since)}
        return {name: (len(arm.outcomes), arm.measured()) for name, arm in arms.items()}

    def _judge(self, deployment: Deployment, canary: CanarySettings, watch: _Watch, condition: str) -> None:
        since = self._clock() - canary.window_s
        candidate, present = watch.arms[True].since(since), watch.arms[False].since(since)
        enough = len(candidate.outcomes) >= canary.min_requests
        values, base = self._evaluated.get(watch.digest, ({}, {}))
        judgement = parse_condition(condition).judge(
            {**values, **(candidate.measured() if enough else {})}, {**base, **present.measured()}
        )
        if judgement.holds is True:
            watch.over = True
            self._over.add(watch.digest)
            log.warning("canary_given_up", deployment=deployment.name, model=canary.model)
            for listener in self._listeners:
                listener(Breach(deployment, canary, judgement))

    def _watch(self, deployment: Deployment, canary: CanarySettings) -> _Watch:
        watch = self._watches.get(deployment.name)
        digest = digest_of(deployment.settings)
        if watch is None or watch.digest != digest:
            candidate = Deployment(_candidate(deployment.settings, canary), deployment.origin, deployment.created_at)
            watch = self._watches[deployment.name] = _Watch(digest, candidate, {True: Arm(), False: Arm()})
        return watch

    def _share(self, digest: str, account: Account) -> float:
        """Where between 0 and 1 a request's caller stands; without a name of an end user, each request by itself."""
        who = account.end_user or account.request_id
        found = hmac.digest(self._key, f"{digest}\n{who}".encode(), "sha256")
        return int.from_bytes(found[:8]) / _UNIT


def digest_of(settings: DeploymentSettings) -> str:
    """What names a canary: the deployment, its model and the canary's own settings."""
    canary = settings.canary.model_dump(mode="json") if settings.canary else None
    text = json.dumps([settings.name, settings.model, canary], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _candidate(settings: DeploymentSettings, canary: CanarySettings) -> DeploymentSettings:
    update: dict[str, Any] = {"name": f"{settings.name}{SUFFIX}", "model": canary.model, "canary": None, "aliases": []}
    if canary.options is not None:
        update["options"] = canary.options
    return settings.model_copy(update=update)
