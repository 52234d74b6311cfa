"""Which content-filter policies and blocklists there are, and the filter that they come to for a request."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from freehold.content_filter.base import Detector, Stage
from freehold.content_filter.chain import Chain
from freehold.content_filter.filter import Filter
from freehold.errors import NotFound
from freehold.types.content_filter import (
    DEFAULT_FILTER,
    BlocklistSettings,
    FilterSettings,
    Side,
)
from freehold.types.deployment import Origin


@dataclass(frozen=True, slots=True)
class Parts:
    """What filters are made of.

    Args:
        detectors: those that a policy with these lists needs for one half of a request, cheapest first.
        stages: those that it needs after them.
    """

    detectors: Callable[[FilterSettings, Sequence[BlocklistSettings], Side], list[Detector]]
    stages: Callable[[FilterSettings, Side], list[Stage]]


class FilterRegistry:
    """All policies and lists in memory. The built-in policy `default` is Azure's default; it can be replaced.

    Args:
        parts: what filters are made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._policies: dict[str, tuple[FilterSettings, Origin]] = {}
        self._lists: dict[str, tuple[BlocklistSettings, Origin]] = {}
        self._filters: dict[tuple[str, str], Filter] = {}

    def load(self, policies: Iterable[FilterSettings], lists: Iterable[BlocklistSettings]) -> None:
        """Take the configuration file's."""
        self._policies = {DEFAULT_FILTER: (FilterSettings(name=DEFAULT_FILTER), Origin.STARTER)}
        self._policies |= {policy.name: (policy, Origin.CONFIG) for policy in policies}
        self._lists = {each.name: (each, Origin.CONFIG) for each in lists}
        self._filters = {}

    def get(self, name: str) -> tuple[FilterSettings, Origin]:
        """A policy, and where it was set.

        Raises:
            NotFound: there is none of that name.
        """
        try:
            return self._policies[name]
        except KeyError:
            raise NotFound(f"No content-filter policy has the name '{name}'.") from None

    def filter(self, name: str, project_id: str) -> Filter:
        """The filter of a policy for the requests of a project; it is made once.

        Raises:
            NotFound: there is no policy of that name.
        """
        found = self._filters.get((name, project_id))
        if found is None:
            found = self._filters[name, project_id] = self._make(name, project_id)
        return found

    def _make(self, name: str, project_id: str) -> Filter:
        settings, _ = self.get(name)
        lists = [
            each
            for each, _ in self._lists.values()
            if (each.project == project_id if each.project is not None else each.name in settings.blocklists)
        ]
        canonical = orjson.dumps([settings.wire(), [each.wire() for each in lists]], option=orjson.OPT_SORT_KEYS)
        chain = partial(self._chain, settings, lists)
        return Filter(
            settings=settings,
            sha256=hashlib.sha256(canonical).hexdigest(),
            prompt=chain(Side.PROMPT),
            completion=chain(Side.COMPLETION),
            block_lists={
                side: frozenset(each.name for each in lists if getattr(each, side.value) == "block") for side in Side
            },
        )

    def _chain(self, settings: FilterSettings, lists: Sequence[BlocklistSettings], side: Side) -> Chain:
        """What examines one half of a request; empty where nothing is looked for."""
        active = [each for each in lists if getattr(each, side.value) != "off"]
        if settings.is_off and not active:
            return Chain(())
        return Chain(self._parts.detectors(settings, active, side), self._parts.stages(settings, side))
