"""Usage and administrative actions as they are asked for, and what they are read from."""

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from freehold.journal.journal import Journal
from freehold.journal.projection import Projection, unavailable
from freehold.store.abuse_queries import FlagQuery, FlagSum, count_requests, sum_flags
from freehold.store.audit_queries import ActionRow, AuditQuery, find_action, find_actions
from freehold.store.overview_queries import (
    Durations,
    OverviewQuery,
    OverviewSum,
    overview_durations,
    overview_sums,
    recent_tokens,
)
from freehold.store.usage_database import UsageDatabase
from freehold.store.usage_queries import UsageQuery, UsageSum, sum_usage
from freehold.store.usage_training import TrainingSum, sum_trainings
from freehold.types.engine import EngineCounters

PATIENCE_S: Final = 2.0
"""How long a question waits for the receipts that were written before it."""

Counters: TypeAlias = Callable[[], Awaitable[Sequence[tuple[str, str, EngineCounters]]]]
"""Asks the engines what they have done: (deployment, replica, counters) for each that tells."""

Running: TypeAlias = Callable[[], Collection[str]]
"""The ids of the requests that run now."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What requests came to.

    Args:
        sums: by bucket, deployment and outcome.
        by_bucket: how long finished ones took, and how long until the first piece of the answer.
        by_deployment: the same kept apart by deployment.
        recent_tokens: how many tokens each deployment completed lately.
    """

    sums: Sequence[OverviewSum]
    by_bucket: tuple[Sequence[Durations], Sequence[Durations]]
    by_deployment: tuple[Sequence[Durations], Sequence[Durations]]
    recent_tokens: Mapping[str, int]


async def no_counters() -> Sequence[tuple[str, str, EngineCounters]]:
    """What engines say where none runs."""
    return ()


class UsageReports:
    """What the usage API and the command line read.

    Args:
        journal: the truth.
        database: what is made from it.
        projection: makes it.
        counters: asks the engines what they have done.
        running: tells which requests run now.
    """

    def __init__(
        self,
        journal: Journal,
        database: UsageDatabase,
        projection: Projection,
        *,
        counters: Counters = no_counters,
        running: Running = frozenset,
    ) -> None:
        self.journal = journal
        self.database = database
        self.projection = projection
        self.counters = counters
        self.running = running

    async def sums(self, query: UsageQuery) -> list[UsageSum]:
        """The sums, with everything in them that was durable when they were asked for.

        Where getting that takes longer than `PATIENCE_S`, with what is there; the projection's state tells.

        Raises:
            Unavailable, HomeError: the database cannot be used, or was not made from this journal.
        """
        await self._catch_up()
        return await sum_usage(self.database, query)

    async def showback(self, start_s: int, end_s: int) -> tuple[list[UsageSum], list[TrainingSum]]:
        """What each project used from `start_s` to before `end_s`, seconds since the epoch; as up to date as the sums.

        Returns:
            Requests, kept apart by organization, project and kind of route; and trainings, by project.

        Raises:
            Unavailable, HomeError: as `sums`.
        """
        await self._catch_up()
        keys = ("organization_id", "project_id", "route_kind")
        served = await sum_usage(self.database, UsageQuery(start_s, end_s, group_by=keys))
        return served, await sum_trainings(self.database, start_s, end_s)

    async def flagged(self, query: FlagQuery) -> tuple[list[FlagSum], bool]:
        """What the content filter found, by group, and whether there are more groups; as up to date as the sums.

        Raises:
            Unavailable, HomeError: as `sums`.
        """
        await self._catch_up()
        return await sum_flags(self.database, query)

    async def sent(self, query: FlagQuery) -> int:
        """How many requests there were, flagged or not; as up to date as the sums.

        Raises:
            Unavailable, HomeError: as `sums`.
        """
        await self._catch_up()
        return await count_requests(self.database, query)

    async def actions(self, query: AuditQuery) -> tuple[list[ActionRow], bool]:
        """Administrative actions, newest first, and whether there are more; as up to date as the sums.

        Raises:
            Unavailable, HomeError: as `sums`.
        """
        await self._catch_up()
        return await find_actions(self.database, query)

    async def action(self, organizations: Sequence[str], writer: str, seq: int) -> ActionRow | None:
        """One action by the writer and the number of its record; None if it is none of these organizations'.

        Raises:
            Unavailable, HomeError: as `sums`.
        """
        await self._catch_up()
        return await find_action(self.database, organizations, writer, seq)

    async def overview(self, query: OverviewQuery, recent_s: float) -> Overview:
        """What requests came to, and the tokens of those that ended in the last seconds; as up to date as the sums.

        Raises:
            Unavailable, HomeError: as `sums`.
        """
        await self._catch_up()
        return Overview(
            await overview_sums(self.database, query),
            await self._durations(query, by_deployment=False),
            await self._durations(query, by_deployment=True),
            await recent_tokens(self.database, query, time.time() - recent_s),
        )

    async def _durations(self, query: OverviewQuery, *, by_deployment: bool) -> tuple[list[Durations], list[Durations]]:
        """How long requests took, and how long until the first piece of the answer."""
        whole = await overview_durations(self.database, query, first_token=False, by_deployment=by_deployment)
        first = await overview_durations(self.database, query, first_token=True, by_deployment=by_deployment)
        return whole, first

    async def _catch_up(self) -> None:
        caught_up = await self.projection.caught_up(PATIENCE_S)
        state = self.projection.state
        if not caught_up and state.name == "failing":
            raise unavailable(state)
