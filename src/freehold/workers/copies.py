"""What a worker, and each of several gateways, has copies of, because every request needs it.

They are read from the database, and again after each change: a core tells its workers which tables were written, the
database its gateways. What a copy said is replaced at once, never taken away first, so a request is decided by what was
before or by what is now. When the new one is in force, the running requests are reviewed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from freehold.api.door import People
from freehold.catalog.deployments import DeploymentRegistry
from freehold.config import Settings
from freehold.content_filter.registry import FilterRegistry
from freehold.gateway.content import Content
from freehold.gateway.flights import Flights
from freehold.gateway.origins import Origins
from freehold.gateway.versions import Versions
from freehold.governance.limits import LimitRegistry
from freehold.governance.policies import PolicyRegistry

_DIRECTORY: Final = frozenset({"organizations", "projects", "members", "role_assignments"})
_MODELS: Final = frozenset({"models", "artifacts", "artifact_parents"})
TABLES: Final = (
    _DIRECTORY
    | _MODELS
    | {"api_keys", "suspensions", "content_keys", "retention", "limits", "policies", "deployments"}
    | {"content_filters", "blocklists"}
)
"""The tables whose changes workers must hear of."""

Loader: TypeAlias = tuple[frozenset[str], Callable[[], Awaitable[None]]]
"""What reads something again when one of some tables was written."""


@dataclass(frozen=True, slots=True)
class Copies:
    """The copies of one worker or gateway.

    Args:
        settings: the configuration, whose entries go before what is stored.
        people: who is let in.
        content: whose keys are revoked, and what is kept.
        limits: on what requests are counted.
        deployments: which there are.
        filters: the content filter's policies and lists.
        policies: what requests are allowed.
        versions: which models are retired.
        origins: which models have a recorded origin.
        flights: the running requests.
    """

    settings: Settings
    people: People
    content: Content
    limits: LimitRegistry
    deployments: DeploymentRegistry
    filters: FilterRegistry
    policies: PolicyRegistry
    versions: Versions
    origins: Origins
    flights: Flights

    def loaders(self) -> Sequence[Loader]:
        """What to read again when one of some tables was written, in this order."""
        settings, people = self.settings, self.people
        return (
            (_DIRECTORY, people.directory.load),
            (_DIRECTORY | {"api_keys"}, people.keys.load),
            (frozenset({"invites"}), people.invites.load),
            (frozenset({"sessions"}), people.identity.sessions.load),
            (frozenset({"suspensions"}), people.suspensions.load),
            (frozenset({"content_keys"}), self.content.keys.load),
            (frozenset({"retention"}), self.content.retention.load),
            (frozenset({"limits"}), lambda: self.limits.load(settings.limit)),
            (frozenset({"deployments"}), lambda: self.deployments.load((), settings.deployment)),
            (_MODELS, self.versions.refresh),
            (_MODELS, self.origins.refresh),
            (
                frozenset({"content_filters", "blocklists"}),
                lambda: self.filters.load(settings.content_filter, settings.blocklist),
            ),
            (frozenset({"policies"}), lambda: self.policies.load(settings.policy)),
        )

    def review(self) -> None:
        """Stop the running requests of those who may go on no more."""
        self.flights.review(self.people.door.objection)
        self.flights.review_callers(self.people.suspensions.objection)


class Reading:
    """Reads copies again, one change after the other.

    Args:
        copies: what is read.
        more: what is read besides.
    """

    def __init__(self, copies: Copies, more: Sequence[Loader] = ()) -> None:
        self._copies = copies
        self._more = more
        self._turn = asyncio.Lock()

    async def again(self, tables: Iterable[str]) -> None:
        """Read what stands in some tables; it is in force when this returns.

        Raises:
            HomeError, ConfigError: it cannot be read: this worker does not know any more what holds.
        """
        written = frozenset(tables)
        async with self._turn:
            for of, load in (*self._copies.loaders(), *self._more):
                if of & written:
                    await load()
            self._copies.review()
