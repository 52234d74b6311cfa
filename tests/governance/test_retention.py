"""How long kept content stays."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.errors import PolicyDenied, UnsupportedParameter, ZeroRetention
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.types.content import ANSWERS, KINDS, PICTURES, RetentionOverride, RetentionSettings


def with_registry(
    folder: Path, trial: Callable[[RetentionRegistry], Awaitable[None]], defaults: RetentionSettings | None = None
) -> None:
    """Run a trial on the settings of a home, as a program that starts there."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        try:
            registry = RetentionRegistry(database, defaults or RetentionSettings())
            await registry.load()
            await trial(registry)
        finally:
            await database.close()

    asyncio.run(main())


def test_every_kind_has_a_setting() -> None:
    """Each kind of content has a key in `[retention]`, with its own default, and there is no other such key."""
    fields = {name: field.default for name, field in RetentionSettings.model_fields.items() if name != "zero"}
    assert fields == {f"{kind.name}_s": kind.default_s for kind in KINDS}


def test_the_nearest_setting_counts(tmp_path: Path) -> None:
    """A project's time goes before its organization's, that before the configuration's; all are there after a start."""

    async def change(registry: RetentionRegistry) -> None:
        assert registry.keep_s("org", "proj", ANSWERS) == 7200
        assert await registry.put("org", "", RetentionOverride(keep_s={"answers": 600, "pictures": 900}))
        assert await registry.put("org", "proj", RetentionOverride(keep_s={"answers": 60}))
        assert not await registry.put("org", "proj", RetentionOverride(keep_s={"answers": 60}))
        await check(registry)

    async def check(registry: RetentionRegistry) -> None:
        assert [registry.keep_s("org", each, ANSWERS) for each in ("proj", "proj-2")] == [60, 600]
        assert [registry.keep_s("org", each, PICTURES) for each in ("proj", "proj-2")] == [900, 900]
        assert registry.keep_s("org-2", "proj", ANSWERS) == 7200

    defaults = RetentionSettings(answers_s=7200)
    with_registry(tmp_path, change, defaults)
    with_registry(tmp_path, check, defaults)


def test_what_may_not_be_here_is_not_kept_from_now_on(tmp_path: Path) -> None:
    """Whose content may not be in the database's zone keeps nothing more, and loses nothing; others are not touched."""

    async def check(registry: RetentionRegistry) -> None:
        before = registry.keep_s("org", "proj", ANSWERS)
        registry.place("us", lambda _organization, project: project != "proj")
        assert registry.effective("org", "proj").zero
        assert registry.keep_s("org", "proj", ANSWERS) == 0
        assert registry.may_stay_s("org", "proj", ANSWERS) == before > 0
        assert registry.type_of("org") == "modified_abuse_monitoring"
        with pytest.raises(PolicyDenied, match="the zone 'us'") as caught:
            registry.check_keeping("org", "proj", "store")
        assert caught.value.param == "store"
        registry.check_keeping("org", "proj-2", "store")
        assert registry.keep_s("org", "proj-2", ANSWERS) == before

    with_registry(tmp_path, check)


def test_zero_retention_cannot_be_undone_from_below(tmp_path: Path) -> None:
    """Where configuration or organization keep nothing, no project does; a project's own zero is its own only."""

    async def trial(registry: RetentionRegistry) -> None:
        await registry.put("org", "proj", RetentionOverride(type="zero_data_retention"))
        with pytest.raises(ZeroRetention) as caught:
            registry.check_keeping("org", "proj", "store")
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "zero_data_retention", "store")
        registry.check_keeping("org", "proj-2", "store")
        await registry.put("org", "proj-2", RetentionOverride(type="none", keep_s={"answers": 600}))
        await registry.put("org", "", RetentionOverride(type="zero_data_retention"))
        with pytest.raises(ZeroRetention):
            registry.check_keeping("org", "proj-2", "store")
        assert registry.keep_s("org", "proj-2", ANSWERS) == 0
        assert registry.type_of("org") == "zero_data_retention"
        assert registry.type_of("org", "proj-2") == "none"
        registry.check_keeping("org-2", "proj", "store")
        await registry.put("org", "", RetentionOverride(type="modified_abuse_monitoring"))
        assert registry.keep_s("org", "proj-2", ANSWERS) == 600

    async def everywhere(registry: RetentionRegistry) -> None:
        await registry.put("org", "", RetentionOverride(type="modified_abuse_monitoring"))
        with pytest.raises(ZeroRetention):
            registry.check_keeping("org", "proj-3", "store")
        assert registry.type_of("org") == "zero_data_retention"

    with_registry(tmp_path, trial)
    with_registry(tmp_path, everywhere, RetentionSettings(zero=True))


def test_whether_completions_are_stored_is_said_by_the_nearest(tmp_path: Path) -> None:
    """Nobody's are by default; a project's word goes before its organization's, and zero retention before both."""

    async def trial(registry: RetentionRegistry) -> None:
        def stores() -> list[bool]:
            return [registry.effective("org", each).store for each in ("proj", "proj-2")]

        assert stores() == [False, False]
        await registry.put("org", "", RetentionOverride(store=True))
        assert stores() == [True, True]
        await registry.put("org", "proj", RetentionOverride(store=False))
        assert stores() == [False, True]
        await registry.put("org", "proj-2", RetentionOverride(store=True, type="zero_data_retention"))
        assert stores() == [False, False]

    with_registry(tmp_path, trial)


def test_what_cannot_be_set_is_refused(tmp_path: Path) -> None:
    """Unknown kinds, times of less than a minute, unknown types, and `none` on an organization."""
    for wrong in ({"keep_s": {"letters": 600}}, {"keep_s": {"answers": 59}}, {"store": "yes, please"}, {"type": "x"}):
        with pytest.raises(ValueError, match="error"):
            RetentionOverride.model_validate(wrong)

    async def trial(registry: RetentionRegistry) -> None:
        with pytest.raises(UnsupportedParameter):
            await registry.put("org", "", RetentionOverride(type="none"))

    with_registry(tmp_path, trial)
