"""What the content filter found, by whose requests they were and by day, in SQLite and in PostgreSQL."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.store.abuse_queries import DAY, Finding, FlagQuery, count_requests, sum_flags
from freehold.types.receipt import Receipt
from tests.usage import NOON_S, Usage, open_usage, receipt

pytestmark = pytest.mark.slow

DAY_S = 86_400
END_USERS = FlagQuery("org", NOON_S - DAY_S, NOON_S + 3 * DAY_S, ("project_id", "end_user"))


def found(number: int, label: str | None = None, *, blocked: bool = False, **changes: Any) -> Receipt:
    """A receipt of a request whose prompt was hateful so severely, if at all."""
    said = {"prompt": {"hate": label} if label else {}, "blocked": ["prompt:hate"] if blocked else []}
    return receipt(number, filter=said, **{"end_user": "eu_1", **changes})


RECEIPTS = [
    *(found(number) for number in range(28)),
    found(30, "high", blocked=True),
    found(31, "medium", at_s=NOON_S + DAY_S),
    found(32, "low", end_user="eu_2", principal="other"),
    found(33, "high", end_user="eu_1", project_id="proj-2"),
    found(34, "high", organization_id="org-2"),
    found(35, "high", end_user=None),
    found(36, "high", at_s=NOON_S + 9 * DAY_S),
    found(37, end_user="eu_3"),
    found(38, route="/v1/organization/usage", end_user="eu_2"),
    found(39, end_user="eu_2")._replace(
        filter={"prompt": {"jailbreak": "detected"}, "completion": {"hate": "low", "sexual": "medium"}},
    ),
]


def with_usage(url: str | None, home: Path, trial: Callable[[Usage], Awaitable[None]]) -> None:
    """Run a trial on a database that has the receipts."""

    async def main() -> None:
        async with open_usage(home, url) as usage:
            await usage.record(RECEIPTS)
            await usage.caught_up()
            await trial(usage)

    asyncio.run(main())


def test_subjects_come_by_their_score(usage_url: str | None, tmp_path: Path) -> None:
    """Each end user of each project is counted by itself, the worst first; nobody's, others' and later ones are not."""

    async def trial(usage: Usage) -> None:
        rows, more = await sum_flags(usage.database, END_USERS)
        assert not more
        assert [row.key for row in rows] == [("proj", "eu_2"), ("proj-2", "eu_1"), ("proj", "eu_1")]
        two, elsewhere, one = rows
        assert (one.requests, one.flagged, one.blocked, one.points) == (30, 2, 1, 12)
        assert (one.first_s, one.last_s) == (NOON_S, NOON_S + DAY_S)
        assert one.score == round(100 * 12 / (9 * 30), 1)
        assert one.findings == (Finding("prompt", "hate", 2, 1, 0), Finding("prompt", "hate", 3, 1, 1))
        assert (two.requests, two.flagged, two.points, two.score) == (2, 2, 10, round(100 * 10 / 180, 1))
        assert [each.name for each in two.findings] == ["hate", "jailbreak", "hate", "sexual"]
        assert (elsewhere.requests, elsewhere.flagged, elsewhere.score) == (1, 1, 5.0)

    with_usage(usage_url, tmp_path, trial)


def test_pages_have_each_subject_once(usage_url: str | None, tmp_path: Path) -> None:
    """Pages of one have what the whole list has, in its order, and tell whether there are more."""

    async def trial(usage: Usage) -> None:
        whole, _ = await sum_flags(usage.database, END_USERS)
        pages = [await sum_flags(usage.database, replace(END_USERS, limit=1, offset=offset)) for offset in range(4)]
        assert [row for rows, _ in pages for row in rows] == whole
        assert [more for _, more in pages] == [True, True, False, False]

    with_usage(usage_url, tmp_path, trial)


@pytest.mark.parametrize(
    ("group_by", "where", "wanted"),
    [
        (("principal",), {}, [("other",), ("user",)]),
        (("project_id",), {}, [("proj-2",), ("proj",)]),
        (("project_id",), {"project_id": ("proj",)}, [("proj",)]),
        (("project_id", "end_user"), {"end_user": ("eu_2", "a\0b")}, [("proj", "eu_2")]),
        (("project_id", "end_user"), {"project_id": ()}, []),
    ],
)
def test_what_is_kept_apart_and_chosen(
    group_by: tuple[str, ...],
    where: dict[str, tuple[str, ...]],
    wanted: list[tuple[str, ...]],
    usage_url: str | None,
    tmp_path: Path,
) -> None:
    """Requests are kept apart by end user, member or project, and chosen by any of these."""

    async def trial(usage: Usage) -> None:
        rows, _ = await sum_flags(usage.database, replace(END_USERS, group_by=group_by, where=where))
        assert sorted(row.key for row in rows) == sorted(wanted)

    with_usage(usage_url, tmp_path, trial)


def test_a_subjects_days_follow_each_other(usage_url: str | None, tmp_path: Path) -> None:
    """By day each day with something flagged comes once, with all requests of that day."""

    async def trial(usage: Usage) -> None:
        query = replace(END_USERS, group_by=(DAY,), where={"end_user": ("eu_1",), "project_id": ("proj",)})
        first, second = (await sum_flags(usage.database, query))[0]
        midnight = NOON_S - NOON_S % DAY_S
        assert (first.key, first.requests, first.flagged) == ((midnight,), 29, 1)
        assert (second.key, second.requests, second.flagged) == ((midnight + DAY_S,), 1, 1)
        assert second.findings == (Finding("prompt", "hate", 2, 1, 0),)
        assert await count_requests(usage.database, query) == 30

    with_usage(usage_url, tmp_path, trial)
