"""Which replica a request gets, and whether one that gets none may hope for one."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, TypeVar

from freehold.serving.prompt_cache import Choosable, PromptCache, ReplicaT
from freehold.serving.prompt_key import PromptKey
from freehold.types.deployment import ReplicaState
from freehold.types.engine import Feature
from freehold.types.values import value_class

Affinity: TypeAlias = str | PromptKey
"""A text, or a prompt with or without such a text."""


@value_class
class Wish:
    """What a request wants of a replica.

    Args:
        needs: features; a replica that has them goes first.
        avoid: ids of replicas that are out of the question.
        affinity: equal texts get the same replica where several are equally busy, for its prompt cache; and of a prompt
            the one that has read its beginning.
    """

    needs: frozenset[Feature] = frozenset()
    avoid: frozenset[str] = frozenset()
    affinity: Affinity | None = None

    @property
    def prompt(self) -> PromptKey | None:
        """What is known of the prompt."""
        return self.affinity if isinstance(self.affinity, PromptKey) else None


ANY = Wish()


class Living(Choosable, Protocol):
    """What is known of a replica's life."""

    @property
    def usable(self) -> bool:
        """Whether it can take a request now, were it not busy."""

    @property
    def state(self) -> ReplicaState:
        """Where it is in its life."""

    @property
    def retiring(self) -> bool:
        """Whether it takes no more requests for good."""

    @property
    def hopeless(self) -> bool:
        """Whether its last failure seems to be one that time does not mend."""

    @property
    def retry_at(self) -> float:
        """When its next attempt is, while it backs off."""


LivingT = TypeVar("LivingT", bound=Living)


def choose(
    replicas: Iterable[ReplicaT], wish: Wish, turns: Mapping[str, int], prompts: PromptCache | None = None
) -> ReplicaT | None:
    """The best replica of those that have a free slot; None if there is none.

    Args:
        replicas: those of the deployment.
        wish: what the request wants.
        turns: when each replica, by its id, had its last request; larger is later.
        prompts: what the replicas have read.
    """
    best: list[ReplicaT] = []
    least: tuple[int, bool, int] | None = None
    needs, avoid = wish.needs, wish.avoid
    able: list[ReplicaT] = []
    for replica in replicas:
        if not replica.free or replica.id in avoid:
            continue
        able.append(replica)
        rank = (replica.doubt, not needs <= replica.traits.features, replica.in_flight)
        if least is None or rank < least:
            least, best = rank, [replica]
        elif rank == least:
            best.append(replica)
    if least is None:
        return None
    first = best[0] if len(best) == 1 else _of_equals(best, wish, turns)
    if prompts is None or wish.prompt is None or len(able) == 1:
        return first
    return prompts.prefer([replica for replica in able if _fitness(replica, wish) == least[:2]], first, wish.prompt)


def _fitness(replica: Choosable, wish: Wish) -> tuple[int, bool]:
    """Smallest is best: healthy and able."""
    return replica.doubt, not wish.needs <= replica.traits.features


def _of_equals(replicas: Sequence[ReplicaT], wish: Wish, turns: Mapping[str, int]) -> ReplicaT:
    """Of those that are equally good the same one for the same text, or the longest unused."""
    text = wish.affinity.text if isinstance(wish.affinity, PromptKey) else wish.affinity
    if text is None:
        return min(replicas, key=lambda replica: turns.get(replica.id, 0))
    return min(replicas, key=lambda replica: zlib.crc32(f"{replica.id} {text}".encode(errors="replace")))


def surplus(replicas: Iterable[LivingT], wanted: int) -> list[LivingT]:
    """Those that are to go where there are more than wanted: first what does not serve, then what does least."""
    return sorted(replicas, key=lambda replica: (not replica.usable, replica.doubt, -replica.in_flight))[wanted:]


def room(queue: int, replicas: Iterable[Living], wanted: int, parallel: int | None) -> int:
    """How many requests may wait. While nothing serves, no fewer than are served at once as soon as something does.

    Args:
        queue: how many may wait as a rule.
        replicas: those of the deployment that are to serve.
        wanted: how many replicas are to be.
        parallel: requests that one works on at once; None where it is not known.
    """
    if any(replica.usable for replica in replicas):
        return queue
    return max(queue, wanted * (parallel or 1))


def hopeful(replicas: Iterable[Living], wish: Wish, now: float, left_s: float, *, loading: bool) -> bool:
    """Whether a replica is likely to be ready soon.

    Args:
        replicas: those of the deployment that are to serve.
        wish: what the request wants.
        now: the loop's time.
        left_s: how long the request would wait for one that backs off.
        loading: whether a model that is being fetched is worth waiting for.
    """
    for replica in replicas:
        if replica.retiring or replica.id in wish.avoid:
            continue
        if replica.state is ReplicaState.BACKING_OFF:
            if not replica.hopeless and replica.retry_at - now < left_s:
                return True
        elif loading or replica.state is not ReplicaState.FETCHING:
            return True
    return False
