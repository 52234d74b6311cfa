"""Which replica a request gets, and whether one that gets none may hope for one."""

import zlib
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from freehold.serving.prompt_cache import Choosable, PromptCache, ReplicaT
from freehold.serving.prompt_key import PromptKey
from freehold.serving.replica import Replica
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
    free = [replica for replica in replicas if replica.free and replica.id not in wish.avoid]
    if len(free) <= 1:
        return free[0] if free else None
    ranks = {replica: _rank(replica, wish, turns) for replica in free}
    best = min(free, key=ranks.__getitem__)
    if prompts is None or wish.prompt is None:
        return best
    return prompts.prefer([replica for replica in free if ranks[replica][:2] == ranks[best][:2]], best, wish.prompt)


def _rank(replica: Choosable, wish: Wish, turns: Mapping[str, int]) -> tuple[int, bool, int, int]:
    """Smallest is best: healthy, able, idle, and then the same one for the same text, or the longest unused."""
    unable = not wish.needs <= replica.traits.features
    text = wish.affinity.text if isinstance(wish.affinity, PromptKey) else wish.affinity
    tie = turns.get(replica.id, 0) if text is None else zlib.crc32(f"{replica.id} {text}".encode(errors="replace"))
    return replica.doubt, unable, replica.in_flight, tie


def hopeful(replicas: Iterable[Replica], wish: Wish, now: float, left_s: float, *, loading: bool) -> bool:
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
