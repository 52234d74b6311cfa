"""Which deployments there are: the stored ones and those of the configuration file, found by name or alias."""

import hashlib
import json
import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from freehold.errors import Conflict, DeploymentNotFound
from freehold.store.database import Database
from freehold.store.deployments import (
    DeploymentRow,
    all_deployments,
    delete_deployment,
    get_fact,
    put_deployment,
    put_fact,
)
from freehold.types.deployment import DeploymentSettings, Origin

_LAID = "starter_deployments_laid"
"""The fact that holds the names of those starter deployments which this home was once given."""
_FIRST = frozenset({"chat", "embed"})
"""What a home was given for which that fact is only true: there were no others then."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment's settings, where they come from and since when (seconds since the epoch)."""

    settings: DeploymentSettings
    origin: Origin
    created_at: int
    name: str = field(init=False)
    config_sha256: str = field(init=False)
    """Digest of the settings, as canonical JSON: two receipts with the same were served under the same."""

    def __post_init__(self) -> None:
        canonical = json.dumps(self.settings.wire(), sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "name", self.settings.name)
        object.__setattr__(self, "config_sha256", hashlib.sha256(canonical.encode()).hexdigest())


class DeploymentRegistry:
    """All deployments in memory; changes are written through to the database.

    The configuration file goes before the database: while a name stands in the file, the stored deployment
    of that name is hidden, and the API cannot change it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_name: dict[str, Deployment] = {}
        self._by_alias: dict[str, str] = {}

    async def load(self, starter: Iterable[DeploymentSettings], configured: Iterable[DeploymentSettings]) -> None:
        """Read the database, lay down of `starter` what the home never had, and add the configuration file's.

        A starter deployment that nobody changed gives up an alias that the file has for another.

        Raises:
            Conflict: an alias of the file is another deployment's name or alias.
        """
        configured = tuple(configured)
        await self._lay(tuple(starter), {alias for settings in configured for alias in settings.aliases})
        named = {name for settings in configured for name in (settings.name, *settings.aliases)}
        self._by_name = {row.name: _stored(row, named) for row in await all_deployments(self._database)}
        now = int(time.time())
        for settings in configured:
            self._by_name[settings.name] = Deployment(settings, Origin.CONFIG, now)
        for settings in configured:
            self._check_names(settings)
        self._index()

    async def _lay(self, starter: tuple[DeploymentSettings, ...], aliases: set[str]) -> None:
        """Store of the starter set what this home was never given; whatever name or alias is taken stays as it is.

        What a later version adds to the set comes only into a home where some of the set still stands: whoever
        deleted all of it has deployments of their own.
        """
        laid = await self._laid()
        new = [settings for settings in starter if settings.name not in laid]
        if not new:
            return
        stored = [DeploymentSettings.model_validate(row.settings) for row in await all_deployments(self._database)]
        taken = {name for settings in stored for name in (settings.name, *settings.aliases)}
        if not laid or laid & {settings.name for settings in stored}:
            for settings in new:
                if settings.name not in taken | aliases:
                    free = [alias for alias in settings.aliases if alias not in taken]
                    wire = settings.model_copy(update={"aliases": free}).wire()
                    await put_deployment(self._database, DeploymentRow(settings.name, Origin.STARTER, wire))
        await put_fact(self._database, _LAID, sorted(laid | {settings.name for settings in new}))

    async def _laid(self) -> frozenset[str]:
        """The starter deployments that this home was once given."""
        fact = await get_fact(self._database, _LAID)
        return _FIRST if fact is True else frozenset(fact or ())

    def turn(self) -> AbstractAsyncContextManager[None]:
        """A turn to change deployments by what is known of them: see `Database.turn`."""
        return self._database.turn()

    def all(self) -> list[Deployment]:
        """Every deployment, in the order in which they came."""
        return list(self._by_name.values())

    def get(self, name: str) -> Deployment:
        """The deployment of that name.

        Raises:
            DeploymentNotFound: there is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise DeploymentNotFound(name) from None

    def find(self, name: str) -> DeploymentSettings | None:
        """The settings of the deployment of that name; None if there is none."""
        found = self._by_name.get(name)
        return None if found is None else found.settings

    def resolve(self, name: str) -> Deployment:
        """The deployment that callers mean by a name or an alias.

        Raises:
            DeploymentNotFound: there is none.
        """
        return self.get(self._by_alias.get(name, name))

    async def put(self, settings: DeploymentSettings) -> bool:
        """Create the deployment or replace its settings; false if nothing was to be changed.

        Raises:
            Conflict: it stands in the configuration file, or a name or alias is taken.
        """
        before = self._by_name.get(settings.name)
        if before is not None and before.settings == settings:
            return False
        self.check(settings)
        created_at = before.created_at if before else int(time.time())
        row = DeploymentRow(settings.name, Origin.API, settings.wire(), created_at)
        await put_deployment(self._database, row)
        self._by_name[settings.name] = Deployment(settings, Origin.API, created_at)
        self._index()
        return True

    def check(self, settings: DeploymentSettings) -> None:
        """Return if a deployment can be put so.

        Raises:
            Conflict: as `put`.
        """
        before = self._by_name.get(settings.name)
        if before is None or before.settings != settings:
            self._check_changeable(settings.name)
            self._check_names(settings)

    async def delete(self, name: str) -> None:
        """Remove the deployment.

        Raises:
            DeploymentNotFound: there is none.
            Conflict: it stands in the configuration file, or takes what another one cannot.
        """
        self.get(name)
        self._check_changeable(name)
        users = [d.name for d in self._by_name.values() if name in d.settings.others]
        if users:
            raise Conflict(f"The deployment '{name}' is a fallback of {', '.join(users)}; change those first.")
        await delete_deployment(self._database, name)
        del self._by_name[name]
        self._index()

    def _check_changeable(self, name: str) -> None:
        known = self._by_name.get(name)
        if known is not None and known.origin is Origin.CONFIG:
            raise Conflict(f"The deployment '{name}' is defined in the configuration file; change it there.")

    def _check_names(self, settings: DeploymentSettings) -> None:
        for other in self._by_name.values():
            if other.name == settings.name:
                continue
            taken = {other.name, *other.settings.aliases} & {settings.name, *settings.aliases}
            if taken:
                raise Conflict(
                    f"The name '{min(taken)}' is already used by the deployment '{other.name}'; "
                    "choose another name, or change or delete that deployment first."
                )

    def _index(self) -> None:
        self._by_alias = {alias: d.name for d in self._by_name.values() for alias in d.settings.aliases}


def _stored(row: DeploymentRow, named: set[str]) -> Deployment:
    """A stored deployment, beside those names and aliases of the configuration file."""
    settings = DeploymentSettings.model_validate(row.settings)
    if row.origin == Origin.STARTER:
        settings = settings.model_copy(update={"aliases": [a for a in settings.aliases if a not in named]})
    return Deployment(settings, Origin(row.origin), row.created_at)
