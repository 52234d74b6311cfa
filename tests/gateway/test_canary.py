"""Canaries: who is served by the candidate, and when it is given up."""

import pytest

from freehold.catalog.deployments import Deployment
from freehold.gateway.account import EVALUATED, Account
from freehold.gateway.canary import Breach, Canaries, digest_of
from freehold.governance.digests import Digests
from freehold.types.deployment import CanarySettings, DeploymentSettings, Origin

DIGESTS = Digests(b"p" * 32)


def deployment(rollback_if: str | None = None, **canary: object) -> Deployment:
    """A deployment with a canary of which nothing is concluded before four requests."""
    settings = {"model": "new", "share": 0.25, "rollback_if": rollback_if, "min_requests": 4, **canary}
    given = DeploymentSettings(name="chat", model="old", canary=CanarySettings.model_validate(settings))
    return Deployment(given, Origin.API, 0)


def account(number: int, user: str | None = None) -> Account:
    """The account of a request."""
    made = Account(f"req_{number}", "/v1/chat/completions", "openai", DIGESTS)
    made.called_by(user)
    return made


class Watched:
    """Canaries on a clock that is set by hand, and what was given up."""

    def __init__(self) -> None:
        self.now = 0.0
        self.breaches: list[Breach] = []
        self.canaries = Canaries(b"k" * 32, clock=lambda: self.now)
        self.canaries.on_breach(self.breaches.append)

    def ended(self, chat: Deployment, *requests: tuple[str, bool, float]) -> None:
        """Take note of requests: the arm, whether it failed, and its seconds."""
        for arm, failed, took_s in requests:
            self.canaries.ended(chat, candidate=arm == "new", failed=failed, took_s=took_s)

    @property
    def because(self) -> list[str]:
        """What was given up, and why."""
        return [comparison.told() for breach in self.breaches for comparison in breach.judgement.comparisons]


def test_a_caller_keeps_its_arm() -> None:
    """About the share of the callers has the candidate, each always the same; another key chooses others."""
    chat, canaries, other = deployment(), Canaries(b"k" * 32), Canaries(b"o" * 32)
    chosen = {user: canaries.choose(chat, account(0, f"user-{user}")).settings.model for user in range(4000)}
    # 25 % of 4,000, with bounds that 1 in 100,000 draws would miss.
    assert 880 <= list(chosen.values()).count("new") <= 1120
    assert all(canaries.choose(chat, account(1, f"user-{user}")).settings.model == chosen[user] for user in range(100))
    assert any(other.choose(chat, account(0, f"user-{user}")).settings.model != chosen[user] for user in range(100))
    nobody = [canaries.choose(chat, account(number)).settings.model for number in range(100)]
    assert set(nobody) == {"old", "new"}


def test_the_arm_is_told() -> None:
    """A request's account has its arm; the candidate has a name of its own and neither canary nor aliases."""
    chat, canaries = deployment(share=0.999999), Canaries(b"k" * 32)
    told = account(1)
    candidate = canaries.choose(chat, told)
    assert (candidate.name, candidate.settings.model, candidate.settings.canary) == ("chat~canary", "new", None)
    assert told.notes["canary"] == "candidate"


def test_an_evaluation_is_of_the_deployments_own_model() -> None:
    """What a run of an evaluation asks is never the candidate's."""
    chat, canaries = deployment(share=0.999999), Canaries(b"k" * 32)
    asking = account(1)
    asking.notes[EVALUATED] = "evalrun_1"
    assert canaries.choose(chat, asking) is chat


def test_errors_give_a_candidate_up() -> None:
    """Four requests are enough, three are not; then it gets nothing more, and nobody hears of it twice."""
    chat, watched = deployment("errors > base + 0.4"), Watched()
    watched.ended(chat, *[("old", False, 1.0)] * 9, ("old", True, 1.0), *[("new", True, 1.0)] * 3)
    assert watched.breaches == []
    watched.ended(chat, ("new", False, 1.0))
    assert watched.because == ["'errors > base + 0.4': errors is 0.75, base is 0.1"]
    watched.ended(chat, ("new", True, 1.0))
    assert len(watched.breaches) == 1
    assert watched.canaries.choose(chat, account(1)) is chat
    assert watched.canaries.candidate_of(chat.settings) is None


def test_only_the_window_counts() -> None:
    """What happened before the window is forgotten."""
    chat, watched = deployment("errors > 0.4", window_s=60.0), Watched()
    watched.ended(chat, *[("new", True, 1.0)] * 3)
    watched.now = 61.0
    watched.ended(chat, *[("new", False, 1.0)] * 4, ("new", True, 1.0))
    assert watched.breaches == []
    assert watched.canaries.measured(chat)["candidate"] == (5, {"errors": 0.19999999999999996, "latency_p50": 1.0})


def test_latency_gives_a_candidate_up() -> None:
    """The median of those that succeeded counts, against that of the deployment's own model."""
    chat, watched = deployment("latency_p50 > base * 2"), Watched()
    watched.ended(chat, *[("new", False, 2.5)] * 4)
    assert watched.breaches == [], "there is nothing to compare with"
    watched.ended(chat, ("old", False, 1.0), ("new", False, 2.5))
    assert watched.because == ["'latency_p50 > base * 2': latency_p50 is 2.5, base is 1"]


@pytest.mark.parametrize(("quality", "given_up"), [(0.4, True), (0.6, False)])
def test_an_evaluation_gives_a_candidate_up(quality: float, *, given_up: bool) -> None:
    """A new result is enough, without a single request; a missing one is no reason."""
    chat, watched = deployment("errors > base + 0.5 or quality < base"), Watched()
    watched.canaries.judge(chat)
    assert watched.breaches == []
    watched.canaries.evaluated(digest_of(chat.settings), {"quality": quality}, {"quality": 0.5})
    watched.canaries.judge(chat)
    assert bool(watched.breaches) is given_up


def test_another_canary_begins_anew() -> None:
    """A canary that was given up says nothing of one with another model or other settings."""
    chat, watched = deployment("errors > 0.4"), Watched()
    watched.ended(chat, *[("new", True, 1.0)] * 4)
    assert watched.canaries.candidate_of(chat.settings) is None
    assert watched.canaries.candidate_of(deployment("errors > 0.4", model="newer").settings) is not None
