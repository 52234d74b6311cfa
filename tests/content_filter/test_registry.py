"""Which content-filter policies and blocklists there are, and how they change."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from freehold.app import open_app
from freehold.config import Settings, parse_settings
from freehold.content_filter.base import Detector
from freehold.content_filter.registry import BUILT_IN, FilterRegistry, Parts
from freehold.errors import ConfigError, Conflict, FilterUnavailable, NotFound
from freehold.store.database import Database
from freehold.types.content_filter import BlocklistItem, BlocklistSettings, FilterSettings, Findings, Passage, Side
from freehold.types.deployment import DeploymentSettings, Origin


class Named:
    """A detector that finds nothing, and is called after what it was made of."""

    version = "1"

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, passage: Passage) -> Findings:  # noqa: ARG002  # it looks at nothing
        return Findings()

    def pending(self, text: str) -> int:  # noqa: ARG002
        return 0


def _detectors(settings: FilterSettings, lists: Sequence[BlocklistSettings], side: Side) -> list[Detector]:
    names = [settings.name, *(f"list:{each.name}" for each in lists), side.value]
    return [Named(name) for name in names]


PARTS = Parts(_detectors, lambda _settings, _side: [])


def policy(name: str, **keys: Any) -> FilterSettings:
    """A policy."""
    return FilterSettings.model_validate({"name": name, **keys})


def blocklist(name: str, *terms: str, **keys: Any) -> BlocklistSettings:
    """A list of terms."""
    return BlocklistSettings.model_validate({"name": name, "items": [{"term": term} for term in terms], **keys})


FRUIT = blocklist("fruit", "bananaphone")
STRICT = policy("strict", blocklists=["fruit"], hate={"prompt": {"threshold": "low"}})


def with_registry(
    steps: Callable[[FilterRegistry, Callable[..., Awaitable[FilterRegistry]]], Awaitable[None]], tmp_path: Path
) -> None:
    """Run steps on the registry of a home with one deployment, which uses `used`."""

    async def run() -> None:
        database = await Database.open(tmp_path / "freehold.db")

        async def opened(
            *policies: FilterSettings, lists: Sequence[BlocklistSettings] = (), uses: str = "used"
        ) -> FilterRegistry:
            deployment = DeploymentSettings(name="chat", model="m", content_filter=uses)
            registry = FilterRegistry(PARTS, database, lambda: [deployment])
            await registry.load(policies, lists)
            return registry

        await steps(await opened(), opened)
        await database.close()

    asyncio.run(run())


def test_what_is_set_holds_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """A stored policy and its list make the next filter, are there when the home is opened again, and can go."""

    async def steps(registry: FilterRegistry, opened: Callable[..., Awaitable[FilterRegistry]]) -> None:
        assert await registry.put([STRICT], [FRUIT]) == (["strict"], ["fruit"])
        assert await registry.put([STRICT], [FRUIT]) == ([], [])
        made = registry.filter("strict", "p")
        assert list(made.prompt.versions) == ["strict", "list:fruit", "prompt"]
        assert list(made.completion.versions) == ["strict", "list:fruit", "completion"]
        again = await opened()
        assert again.policies() == [(BUILT_IN, Origin.STARTER), (STRICT, Origin.API)]
        assert again.lists() == [(FRUIT, Origin.API)]
        assert again.filter("strict", "p").sha256 == made.sha256
        assert await again.delete("strict") == STRICT
        assert await again.delete_list("fruit") == FRUIT
        for deleting in (again.delete("strict"), again.delete_list("fruit")):
            with pytest.raises(NotFound):
                await deleting
        assert (await opened()).policies() == [(BUILT_IN, Origin.STARTER)]

    with_registry(steps, tmp_path)


def test_a_change_makes_a_new_filter(tmp_path: Path) -> None:
    """A filter is made once, and anew after every change of its policy or of a list, with another digest."""

    async def steps(registry: FilterRegistry, _opened: object) -> None:
        await registry.put([STRICT], [FRUIT])
        first = registry.filter("strict", "p")
        assert registry.filter("strict", "p") is first
        assert registry.filter("strict", "q") is first
        await registry.add_items("fruit", [BlocklistItem(term="mango")])
        second = registry.filter("strict", "p")
        assert second.sha256 != first.sha256
        await registry.remove_item("fruit", BlocklistItem(term="MANGO"))
        assert registry.filter("strict", "p").sha256 == first.sha256

    with_registry(steps, tmp_path)


def test_the_built_in_policy_can_be_replaced_and_comes_back(tmp_path: Path) -> None:
    """`default` is there without being set, takes a replacement, and returns when that is deleted, whoever uses it."""

    async def steps(registry: FilterRegistry, opened: Callable[..., Awaitable[FilterRegistry]]) -> None:
        with pytest.raises(Conflict, match="built in"):
            await registry.delete("default")
        lax = policy("default", jailbreak="annotate")
        assert await registry.put([BUILT_IN]) == ([], [])
        assert await registry.put([lax]) == (["default"], [])
        assert (await opened()).get("default") == (lax, Origin.API)
        restored = await opened(uses="default")
        assert await restored.delete("default") == lax
        assert restored.get("default") == (BUILT_IN, Origin.STARTER)
        assert (await opened()).get("default") == (BUILT_IN, Origin.STARTER)

    with_registry(steps, tmp_path)


def test_the_configuration_file_goes_before_the_database(tmp_path: Path) -> None:
    """What stands in the file hides what is stored under its name, and the API neither changes nor deletes it."""

    async def steps(registry: FilterRegistry, opened: Callable[..., Awaitable[FilterRegistry]]) -> None:
        await registry.put([policy("strict")], [blocklist("fruit", "plum")])
        filed = await opened(STRICT, lists=[FRUIT])
        assert (filed.get("strict"), filed.get_list("fruit")) == ((STRICT, Origin.CONFIG), (FRUIT, Origin.CONFIG))
        assert await filed.put([STRICT], [FRUIT]) == ([], [])
        for change in (
            filed.put([policy("strict")]),
            filed.put(lists=[blocklist("fruit")]),
            filed.add_items("fruit", [BlocklistItem(term="pear")]),
            filed.remove_item("fruit", FRUIT.items[0]),
            filed.delete("strict"),
            filed.delete_list("fruit"),
        ):
            with pytest.raises(Conflict, match="configuration file"):
                await change
        assert (await opened()).get_list("fruit")[0] == blocklist("fruit", "plum")

    with_registry(steps, tmp_path)


def test_a_projects_list_holds_for_its_requests_only(tmp_path: Path) -> None:
    """A project's own list is looked for under every policy, for the project's requests and for no other."""

    async def steps(registry: FilterRegistry, _opened: object) -> None:
        await registry.put(lists=[blocklist("own", "plum", project="p"), FRUIT])
        assert list(registry.filter("default", "p").prompt.versions) == ["default", "list:own", "prompt"]
        assert list(registry.filter("default", "q").prompt.versions) == ["default", "prompt"]
        assert registry.filter("default", "p").block_lists[Side.PROMPT] == {"own"}

    with_registry(steps, tmp_path)


def test_a_project_s_list_is_looked_for_where_the_policy_is_off(tmp_path: Path) -> None:
    """A policy that looks for nothing has empty chains, and those of a project's list for that project."""
    off = {"prompt": {"action": "off"}, "completion": {"action": "off"}}
    nothing = policy("off", hate=off, sexual=off, violence=off, self_harm=off, jailbreak="off")

    async def steps(registry: FilterRegistry, _opened: object) -> None:
        await registry.put([nothing], [blocklist("own", "plum", project="p", completion="off")])
        assert not registry.filter("off", "q").prompt
        assert registry.filter("off", "p").prompt
        assert not registry.filter("off", "p").completion

    with_registry(steps, tmp_path)


def test_policies_and_lists_change_together_or_not_at_all(tmp_path: Path) -> None:
    """One fault in what is set together leaves everything as it was, and the error says where it is."""
    faults: list[tuple[list[FilterSettings], list[BlocklistSettings], str]] = [
        ([STRICT], [], r"^blocklists\[0\]: there is no blocklist 'fruit'"),
        ([policy("a"), STRICT], [], r"^content_filter\[1\]\.blocklists\[0\]: there is no"),
        ([STRICT], [blocklist("fruit", project="p")], "is the project p's own"),
        ([policy("a"), policy("a")], [], r"content_filter\[1\]: there is already a 'a'"),
        ([policy("a", guard={"deployment": "ghost", "format": "qwen3guard"})], [], r"^guard\.deployment: there is no"),
        ([], [FRUIT, FRUIT], r"blocklist\[1\]: there is already a 'fruit'"),
        ([policy("a")], [blocklist("x", "b", "B ")], r"^items\[1\]: is the same as items\[0\]"),
        ([], [FRUIT, blocklist("x", "?!")], r"^blocklist\[1\]\.items\[0\]\.term: has neither"),
        ([], [blocklist("x").model_copy(update={"items": (BlocklistItem(pattern="("),)})], "missing "),
    ]

    async def steps(registry: FilterRegistry, opened: Callable[..., Awaitable[FilterRegistry]]) -> None:
        for policies, lists, message in faults:
            with pytest.raises(ConfigError, match=message):
                await registry.put(policies, lists)
        assert registry.policies() == [(BUILT_IN, Origin.STARTER)]
        assert (await opened()).lists() == []

    with_registry(steps, tmp_path)


def test_what_is_used_stays(tmp_path: Path) -> None:
    """A policy that a deployment names and a list that a policy names are not deleted; the error names the users."""

    async def steps(registry: FilterRegistry, _opened: object) -> None:
        await registry.put([policy("used"), STRICT], [FRUIT])
        with pytest.raises(Conflict, match=r"used by the deployment 'chat'"):
            await registry.delete("used")
        with pytest.raises(Conflict, match=r"named by the policy 'strict'"):
            await registry.delete_list("fruit")
        with pytest.raises(Conflict, match=r"named by the policy 'strict'"):
            await registry.put(lists=[blocklist("fruit", project="p")])
        assert await registry.put([policy("strict")], [blocklist("fruit", project="p")]) == (["strict"], ["fruit"])
        await registry.delete_list("fruit")

    with_registry(steps, tmp_path)


def test_a_stored_policy_whose_list_left_the_file_is_not_used_without_it(tmp_path: Path) -> None:
    """A home whose stored policy names a list that the file has no more does not open; the error names both."""

    async def steps(_registry: FilterRegistry, opened: Callable[..., Awaitable[FilterRegistry]]) -> None:
        await (await opened(lists=[FRUIT])).put([STRICT])
        with pytest.raises(ConfigError, match=r"policy 'strict': blocklists.*no blocklist 'fruit'"):
            await opened()
        assert (await opened(policy("strict"))).get("strict")[1] is Origin.CONFIG

    with_registry(steps, tmp_path)


def test_a_faulty_file_is_named_by_its_key(tmp_path: Path) -> None:
    """What the file has wrong is told by the path of its key."""

    async def steps(_registry: FilterRegistry, opened: Callable[..., Awaitable[FilterRegistry]]) -> None:
        with pytest.raises(ConfigError, match=r"^content_filter\[0\]\.blocklists\[0\]: there is no"):
            await opened(STRICT)
        with pytest.raises(
            ConfigError, match=r"^content_filter\[0\]\.guard\.deployment: there is no deployment 'ghost'"
        ):
            await opened(policy("a", guard={"deployment": "ghost", "format": "qwen3guard"}))
        assert (await opened(policy("a", guard={"deployment": "chat", "format": "qwen3guard"}))).knows("a")
        with pytest.raises(ConfigError, match=r"^blocklist\[0\]\.items\[0\]\.term: has neither"):
            await opened(lists=[blocklist("x", "...")])

    with_registry(steps, tmp_path)


def test_items_are_added_once_and_removed_by_name(tmp_path: Path) -> None:
    """Adding what is there changes nothing; removing what is not there is refused; capitals do not count."""

    async def steps(registry: FilterRegistry, _opened: object) -> None:
        await registry.put(lists=[FRUIT])
        before, after = await registry.add_items(
            "fruit", [BlocklistItem(term="Bananaphone"), BlocklistItem(term="fig")]
        )
        assert ([each.term for each in before.items], [each.term for each in after.items]) == (
            ["bananaphone"],
            ["bananaphone", "fig"],
        )
        with pytest.raises(NotFound, match="has no pattern 'fig'"):
            await registry.remove_item("fruit", BlocklistItem(pattern="fig"))
        with pytest.raises(NotFound, match="No blocklist has the name 'nuts'"):
            await registry.add_items("nuts", [BlocklistItem(term="pecan")])
        many = [BlocklistItem(pattern=f"x{number}") for number in range(1001)]
        with pytest.raises(ConfigError, match="at most 1,000 items of a list are patterns"):
            await registry.add_items("fruit", many)

    with_registry(steps, tmp_path)


def test_a_policy_that_is_not_there_lets_nothing_pass(tmp_path: Path) -> None:
    """A filter of no policy cannot be made, and the request fails closed."""

    async def steps(registry: FilterRegistry, _opened: object) -> None:
        with pytest.raises(FilterUnavailable, match="'gone' does not exist"):
            registry.filter("gone", "p")

    with_registry(steps, tmp_path)


def test_a_deployment_of_the_file_names_a_policy_that_there_is(tmp_path: Path) -> None:
    """A file whose deployment names a policy that is nowhere does not start a server, and the error has the key."""
    deployment = {"name": "echo", "engine": "echo", "model": "echo", "content_filter": "gone"}
    raw = {"server": {"starter": False}, "deployment": [deployment]}

    async def opening(**more: Any) -> None:
        async with open_app(tmp_path, parse_settings({**raw, **more}, Settings), engines=False):
            pass

    with pytest.raises(
        ConfigError, match=r"^deployment\[0\]\.content_filter: there is no content-filter policy 'gone'"
    ):
        asyncio.run(opening())
    asyncio.run(opening(content_filter=[{"name": "gone"}]))


def test_a_file_names_each_policy_and_list_once() -> None:
    """Two policies or two lists of one name in a file are an error with the second one's place."""
    for kind in ("content_filter", "blocklist"):
        with pytest.raises(ConfigError, match=rf"{kind}\[1\]: there is already a 'x'"):
            parse_settings({kind: [{"name": "x"}, {"name": "x"}]}, Settings)
