"""What policies and blocklists must hold so that filters can be made of them."""

from collections.abc import Iterable, Mapping, Sequence

from freehold.content_filter.normalise import plain
from freehold.content_filter.patterns import check_pattern
from freehold.errors import ConfigError, Conflict, InvalidRequest
from freehold.types.content_filter import MAX_ITEMS, MAX_PATTERNS, BlocklistItem, BlocklistSettings, FilterSettings
from freehold.types.deployment import DeploymentSettings


def check_items(items: Iterable[BlocklistItem]) -> None:
    """Return if every item can be looked for.

    Raises:
        ConfigError: names the item that cannot, or that is there twice.
    """
    items = tuple(items)
    check_size(items)
    seen: dict[tuple[str | None, str | None], int] = {}
    for index, item in enumerate(items):
        if item.pattern is not None:
            try:
                check_pattern(item.pattern)
            except InvalidRequest as exc:
                where = f"items[{index}].pattern"
                raise ConfigError(f"{where}: {exc.message}", param=where) from exc
        elif not any(character.isalnum() for character in plain(item.term or "")):
            where = f"items[{index}].term"
            raise ConfigError(f"{where}: has neither a letter nor a digit", param=where)
        first = seen.setdefault(key(item), index)
        if first != index:
            where = f"items[{index}]"
            raise ConfigError(f"{where}: is the same as items[{first}]", param=where)


def check_size(items: Sequence[BlocklistItem]) -> None:
    """Return if a list may have so many items.

    Raises:
        ConfigError: says how many it may have.
    """
    if len(items) > MAX_ITEMS:
        raise ConfigError(f"items: a list has at most {MAX_ITEMS:,} items; make another one", param="items")
    if sum(item.pattern is not None for item in items) > MAX_PATTERNS:
        raise ConfigError(
            f"items: at most {MAX_PATTERNS:,} items of a list are patterns; join some with |, or make another list",
            param="items",
        )


def key(item: BlocklistItem) -> tuple[str | None, str | None]:
    """What an item is told by: terms are the same that read the same."""
    return (None if item.term is None else plain(item.term).strip(), item.pattern)


def check_names(policy: FilterSettings, lists: Mapping[str, BlocklistSettings]) -> None:
    """Return if every list that a policy names is one that holds for everybody who uses it.

    Raises:
        ConfigError: there is no such list, or it is a project's own.
    """
    for index, name in enumerate(policy.blocklists):
        where = f"blocklists[{index}]"
        found = lists.get(name)
        if found is None:
            raise ConfigError(f"{where}: there is no blocklist '{name}'", param=where)
        if found.project is not None:
            raise ConfigError(
                f"{where}: the blocklist '{name}' is the project {found.project}'s own, and holds for its requests "
                "under every policy; name one without 'project'",
                param=where,
            )


def check_guard(policy: FilterSettings, deployments: Iterable[DeploymentSettings]) -> None:
    """Return if the deployment that judges texts for a policy exists, where one does.

    Raises:
        ConfigError: there is none of that name or alias.
    """
    if policy.guard is None:
        return
    name = policy.guard.deployment
    if not any(name in {each.name, *each.aliases} for each in deployments):
        raise ConfigError(f"guard.deployment: there is no deployment '{name}'", param="guard.deployment")


def check_unnamed(name: str, policies: Iterable[FilterSettings]) -> None:
    """Return if no policy names a list, which may then go, or become a project's own.

    Raises:
        Conflict: some do.
    """
    naming = sorted(policy.name for policy in policies if name in policy.blocklists)
    if naming:
        raise Conflict(
            f"The blocklist '{name}' is named by {named('policy', 'policies', naming)}; take it out there first."
        )


def named(one: str, many: str, names: list[str]) -> str:
    """Some objects by their names, in a sentence."""
    told = ", ".join(f"'{name}'" for name in names)
    return f"the {one if len(names) == 1 else many} {told}"
