"""Which content-filter policies and blocklists there are, and the filter that they come to for a request."""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import orjson

from freehold.content_filter.base import Detector, Stage
from freehold.content_filter.chain import Chain
from freehold.content_filter.consistency import (
    check_guard,
    check_items,
    check_names,
    check_size,
    check_unnamed,
    key,
    named,
)
from freehold.content_filter.filter import Filter
from freehold.errors import ConfigError, Conflict, FilterUnavailable, NotFound
from freehold.store.content_filters import (
    FilterRow,
    all_content_filters,
    delete_blocklist,
    delete_content_filter,
    put_content_filters,
)
from freehold.store.database import Database
from freehold.types.content_filter import (
    DEFAULT_FILTER,
    BlocklistItem,
    BlocklistSettings,
    FilterSettings,
    Side,
)
from freehold.types.deployment import DeploymentSettings, Origin

BUILT_IN = FilterSettings(name=DEFAULT_FILTER)
"""Azure's default."""


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
    """All policies and lists in memory; changes are written through to the database, and hold from the next request on.

    The configuration file goes before the database: while a name stands in the file, what is stored under that name is
    hidden, and the API cannot change it. The built-in policy `default` can be replaced, and comes back when its
    replacement is deleted.

    Args:
        parts: what filters are made of.
        database: where policies and lists are stored.
        deployments: gives those there are: a policy that one of them names stays.
    """

    def __init__(
        self, parts: Parts, database: Database, deployments: Callable[[], Iterable[DeploymentSettings]]
    ) -> None:
        self._parts = parts
        self._database = database
        self._deployments = deployments
        self._policies: dict[str, tuple[FilterSettings, Origin]] = {}
        self._lists: dict[str, tuple[BlocklistSettings, Origin]] = {}
        self._filters: dict[tuple[str, str], Filter] = {}
        self._changing = asyncio.Lock()

    async def load(self, policies: Iterable[FilterSettings], lists: Iterable[BlocklistSettings]) -> None:
        """Read the database, and add the configuration file's.

        Raises:
            ConfigError: a policy names a list or a guard's deployment that there is not, or a list has an item that
                cannot be looked for.
        """
        stored = await all_content_filters(self._database)
        found = [BlocklistSettings.model_validate(row.settings) for row in stored.lists]
        self._lists = {each.name: (each, Origin.API) for each in found}
        for index, configured in enumerate(lists):
            _prefixed(f"blocklist[{index}].", partial(check_items, configured.items))
            self._lists[configured.name] = (configured, Origin.CONFIG)
        self._policies = {DEFAULT_FILTER: (BUILT_IN, Origin.STARTER)}
        kept = [FilterSettings.model_validate(row.settings) for row in stored.policies]
        self._policies |= {policy.name: (policy, Origin.API) for policy in kept}
        known = {name: each for name, (each, _) in self._lists.items()}
        for index, policy in enumerate(policies):
            _prefixed(f"content_filter[{index}].", partial(check_names, policy, known))
            _prefixed(f"content_filter[{index}].", partial(check_guard, policy, self._deployments()))
            self._policies[policy.name] = (policy, Origin.CONFIG)
        for name, (policy, origin) in self._policies.items():
            if origin is Origin.API:
                _prefixed(f"the stored content-filter policy '{name}': ", partial(check_names, policy, known))
        self._filters = {}

    def policies(self) -> list[tuple[FilterSettings, Origin]]:
        """All policies and where each was set, by name."""
        return [self._policies[name] for name in sorted(self._policies)]

    def lists(self) -> list[tuple[BlocklistSettings, Origin]]:
        """All lists and where each was set, by name."""
        return [self._lists[name] for name in sorted(self._lists)]

    def knows(self, name: str) -> bool:
        """Whether there is a policy of that name."""
        return name in self._policies

    def get(self, name: str) -> tuple[FilterSettings, Origin]:
        """A policy, and where it was set.

        Raises:
            NotFound: there is none of that name.
        """
        try:
            return self._policies[name]
        except KeyError:
            raise NotFound(f"No content-filter policy has the name '{name}'.") from None

    def get_list(self, name: str) -> tuple[BlocklistSettings, Origin]:
        """A list, and where it was set.

        Raises:
            NotFound: there is none of that name.
        """
        try:
            return self._lists[name]
        except KeyError:
            raise no_list(name) from None

    def project_of(self, name: str) -> str | None:
        """The id of the project whose own a list is; None where it is none's, or there is no such list."""
        found = self._lists.get(name)
        return None if found is None else found[0].project

    def used_by(self, name: str) -> list[str]:
        """The names of the deployments that name a policy."""
        return sorted(each.name for each in self._deployments() if each.content_filter == name)

    def naming(self, name: str) -> list[str]:
        """The names of the policies that name a list."""
        return sorted(policy.name for policy, _ in self._policies.values() if name in policy.blocklists)

    def filter(self, name: str, project_id: str) -> Filter:
        """The filter of a policy for the requests of a project; it is made once.

        Raises:
            FilterUnavailable: there is no policy of that name, so no text can be examined under it.
        """
        found = self._filters.get((name, project_id))
        if found is None:
            found = self._filters[name, project_id] = self._made(name, project_id)
        return found

    def draft(self, settings: FilterSettings, project_id: str) -> Filter:
        """The filter that a policy would be for the requests of a project; nothing is changed by it.

        Raises:
            ConfigError: it names a list or a deployment that there is not.
        """
        self._check([settings], ())
        return self._make(settings, self._lists_for(settings, project_id))

    async def put(
        self, policies: Sequence[FilterSettings] = (), lists: Sequence[BlocklistSettings] = ()
    ) -> tuple[list[str], list[str]]:
        """Set policies and lists, or replace them: all or none.

        Returns:
            The names of the policies and of the lists that were changed by it.

        Raises:
            ConfigError: a name comes twice, a policy names a list or a deployment that there is not, or an item cannot
                be looked for.
            Conflict: one stands in the configuration file, or becomes a project's own while policies name it.
        """
        for index, each in enumerate(lists):
            where = f"blocklist[{index}]." if len(lists) > 1 else ""
            await asyncio.to_thread(_prefixed, where, partial(check_items, each.items))
        async with self._database.turn(), self._changing:
            return await self._put(policies, lists)

    async def add_items(self, name: str, items: Sequence[BlocklistItem]) -> tuple[BlocklistSettings, BlocklistSettings]:
        """Add items to a list; those that are there already stay as they are.

        Returns:
            The list before and after.

        Raises:
            NotFound: there is no such list.
            ConfigError, Conflict: as in `put`; or the list would have too many items.
        """
        await asyncio.to_thread(check_items, items)
        async with self._database.turn(), self._changing:
            before, _ = self.get_list(name)
            known = {key(item) for item in before.items}
            wanted = (*before.items, *(item for item in items if key(item) not in known))
            check_size(wanted)
            after = before.model_copy(update={"items": wanted})
            await self._put((), [after])
        return before, after

    async def remove_item(self, name: str, item: BlocklistItem) -> tuple[BlocklistSettings, BlocklistSettings]:
        """Take an item off a list.

        Returns:
            The list before and after.

        Raises:
            NotFound: there is no such list, or no such item in it.
            Conflict: the list stands in the configuration file.
        """
        async with self._database.turn(), self._changing:
            before, _ = self.get_list(name)
            kept = tuple(each for each in before.items if key(each) != key(item))
            if len(kept) == len(before.items):
                what = f"term '{item.term}'" if item.term is not None else f"pattern '{item.pattern}'"
                raise NotFound(f"The blocklist '{name}' has no {what}.")
            after = before.model_copy(update={"items": kept})
            await self._put((), [after])
        return before, after

    async def delete(self, name: str) -> FilterSettings:
        """Remove a policy, and return what it was; the built-in one comes back where it was replaced.

        Raises:
            NotFound: there is none of that name.
            Conflict: it is built in, stands in the configuration file, or a deployment names it.
        """
        async with self._database.turn(), self._changing:
            settings, origin = self.get(name)
            if origin is Origin.STARTER:
                raise Conflict(f"The content-filter policy '{name}' is built in; replace it, or leave it as it is.")
            self._check_changeable(name, origin, "content-filter policy")
            users = [] if name == DEFAULT_FILTER else self.used_by(name)
            if users:
                raise Conflict(
                    f"The content-filter policy '{name}' is used by {named('deployment', 'deployments', users)}; "
                    "give them another first."
                )
            await delete_content_filter(self._database, name)
            del self._policies[name]
            if name == DEFAULT_FILTER:
                self._policies[name] = (BUILT_IN, Origin.STARTER)
            self._filters = {}
        return settings

    async def delete_list(self, name: str) -> BlocklistSettings:
        """Remove a list, and return what it was.

        Raises:
            NotFound: there is none of that name.
            Conflict: it stands in the configuration file, or a policy names it.
        """
        async with self._database.turn(), self._changing:
            settings, origin = self.get_list(name)
            self._check_changeable(name, origin, "blocklist")
            check_unnamed(name, (policy for policy, _ in self._policies.values()))
            await delete_blocklist(self._database, name)
            del self._lists[name]
            self._filters = {}
        return settings

    async def _put(
        self, policies: Sequence[FilterSettings], lists: Sequence[BlocklistSettings]
    ) -> tuple[list[str], list[str]]:
        new_lists = [each for each in lists if self._lists.get(each.name, (None,))[0] != each]
        new_policies = [each for each in policies if self._policies.get(each.name, (None,))[0] != each]
        self._check(policies, lists)
        for each in new_lists:
            self._check_changeable(each.name, self._lists.get(each.name, (None, Origin.API))[1], "blocklist")
        for policy in new_policies:
            origin = self._policies.get(policy.name, (None, Origin.API))[1]
            self._check_changeable(policy.name, origin, "content-filter policy")
        if new_policies or new_lists:
            await put_content_filters(
                self._database,
                [FilterRow(policy.name, policy.wire()) for policy in new_policies],
                [FilterRow(each.name, each.wire()) for each in new_lists],
            )
            self._lists |= {each.name: (each, Origin.API) for each in new_lists}
            self._policies |= {policy.name: (policy, Origin.API) for policy in new_policies}
            self._filters = {}
        return [policy.name for policy in new_policies], [each.name for each in new_lists]

    def _check(self, policies: Sequence[FilterSettings], lists: Sequence[BlocklistSettings]) -> None:
        """Return if policies and lists fit together as they would be then. Raises as `put`."""
        _check_once("blocklist", [each.name for each in lists])
        _check_once("content_filter", [policy.name for policy in policies])
        after = {name: each for name, (each, _) in self._lists.items()} | {each.name: each for each in lists}
        for index, policy in enumerate(policies):
            where = f"content_filter[{index}]." if len(policies) > 1 else ""
            _prefixed(where, partial(check_names, policy, after))
            _prefixed(where, partial(check_guard, policy, self._deployments()))
        replaced = {policy.name for policy in policies}
        others = [policy for policy, _ in self._policies.values() if policy.name not in replaced]
        for each in lists:
            if each.project is not None:
                check_unnamed(each.name, others)

    @staticmethod
    def _check_changeable(name: str, origin: Origin, what: str) -> None:
        if origin is Origin.CONFIG:
            raise Conflict(f"The {what} '{name}' is defined in the configuration file; change it there.")

    def _made(self, name: str, project_id: str) -> Filter:
        """A filter; projects without lists of their own have one together."""
        if name not in self._policies:
            raise FilterUnavailable(
                f"The content-filter policy '{name}' does not exist, so nothing can be examined under it. "
                "Its administrator can set it, or give the deployment another."
            )
        settings, _ = self._policies[name]
        if project_id and not self._own_lists(project_id):
            return self.filter(name, "")
        return self._make(settings, self._lists_for(settings, project_id))

    def _lists_for(self, settings: FilterSettings, project_id: str) -> list[BlocklistSettings]:
        named_ones = [each for each, _ in self._lists.values() if each.name in settings.blocklists]
        return named_ones + self._own_lists(project_id)

    def _own_lists(self, project_id: str) -> list[BlocklistSettings]:
        return [each for each, _ in self._lists.values() if each.project is not None and each.project == project_id]

    @property
    def moderation(self) -> Filter:
        """What `POST /moderations` examines texts by: every category of harm, nothing else, no guard."""
        return self._make(FilterSettings(name="moderation", jailbreak="off"), [])

    def _make(self, settings: FilterSettings, lists: Sequence[BlocklistSettings]) -> Filter:
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


def no_list(name: str) -> NotFound:
    """The error that says that there is no such list."""
    return NotFound(f"No blocklist has the name '{name}'.")


def _check_once(where: str, names: list[str]) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigError(f"{where}[{index}]: there is already a '{name}'", param=where)


def _prefixed(where: str, check: Callable[[], None]) -> None:
    """Do a check whose error says where the fault stands."""
    try:
        check()
    except ConfigError as exc:
        raise ConfigError(f"{where}{exc.message}", param=exc.param) from exc
