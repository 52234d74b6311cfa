"""Which limits are set: those of the configuration file and the stored ones, and what they come to for a subject."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from freehold.errors import Conflict, NotFound
from freehold.store.database import Database
from freehold.store.limits import LimitRow, all_limits, delete_limit, put_limit
from freehold.types.deployment import Origin
from freehold.types.limits import EVERY, LIMITED, MOST, LimitSettings, Scope, Subject, pair_id


@dataclass(frozen=True, slots=True)
class Limits:
    """What one subject may use; None is no limit. Budgets are micro-units for each day and each month of UTC."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    budget_per_day: int | None = None
    budget_per_month: int | None = None


UNLIMITED = Limits()


class LimitRegistry:
    """All limits in memory; changes are written through to the database.

    The configuration file goes before the database: while the limits of a subject stand in the file, its stored
    ones are hidden, and the API cannot change them.

    Args:
        database: where they are stored.
        digest_end_user: gives the id under which receipts and limits are counted, for the name that callers give.
    """

    def __init__(self, database: Database, digest_end_user: Callable[[str], str]) -> None:
        self._database = database
        self._digest_end_user = digest_end_user
        self._set: dict[tuple[Scope, str], tuple[LimitSettings, Origin]] = {}
        self._limits: dict[Subject, Limits] = {}
        self._pairs = False
        """Whether any limit is set on what a project uses of a deployment."""
        self._listeners: list[Callable[[Scope, str], None]] = []
        self._changing = asyncio.Lock()

    async def load(self, configured: Iterable[LimitSettings]) -> None:
        """Read the database, and add the configuration file's."""
        stored = [LimitSettings.model_validate(row.settings) for row in await all_limits(self._database)]
        self._set = {(settings.scope, settings.id): (settings, Origin.API) for settings in stored}
        self._set |= {(settings.scope, settings.id): (settings, Origin.CONFIG) for settings in configured}
        self._limits = {self.subject(*name): limits_of(settings) for name, (settings, _) in self._set.items()}
        self._look_for_pairs()

    def on_change(self, listener: Callable[[Scope, str], None]) -> None:
        """Call `listener` with the scope and the id of a subject whose limits have changed; the id `*` means all."""
        self._listeners.append(listener)

    def all(self) -> list[tuple[LimitSettings, Origin]]:
        """All limits and where each was set, in the order in which they came."""
        return list(self._set.values())

    def get(self, scope: Scope, limit_id: str) -> tuple[LimitSettings, Origin]:
        """The limits of a subject, and where they were set.

        Raises:
            NotFound: it has none.
        """
        try:
            return self._set[scope, limit_id]
        except KeyError:
            raise NotFound(f"No limits are set on {scope} '{limit_id}'.") from None

    def subject(self, scope: Scope, limit_id: str) -> Subject:
        """On whom limits are counted; those of `*` on each one by itself."""
        named = scope is Scope.END_USER and limit_id != EVERY
        return Subject(scope, self._digest_end_user(limit_id) if named else limit_id)

    def effective(self, subject: Subject) -> Limits:
        """What a subject may use: each value of its own goes before that of `*`."""
        return effective(self._limits, subject)

    def pair(self, project_id: str, deployment: str) -> Subject | None:
        """A project's part of a deployment, if that is limited; where nothing is, this costs nothing."""
        if not self._pairs:
            return None
        subject = Subject(Scope.PROJECT_DEPLOYMENT, pair_id(project_id, deployment))
        return None if self.effective(subject) == UNLIMITED else subject

    async def put(self, settings: LimitSettings) -> bool:
        """Set a subject's limits, or replace them; false if nothing was to be changed.

        Raises:
            Conflict: they stand in the configuration file.
        """
        async with self._database.turn(), self._changing:
            return await self._put(settings)

    async def merge(self, scope: Scope, limit_id: str, values: Mapping[str, int]) -> None:
        """Set some of a subject's limits and leave the others; `MOST` takes one away.

        Raises:
            Conflict: they stand in the configuration file.
        """
        async with self._database.turn(), self._changing:
            known, origin = self._set.get((scope, limit_id), (None, Origin.API))
            _check_changeable(scope, limit_id, origin)
            wire = {} if known is None else known.wire()
            merged = {name: value for name, value in {**wire, **values}.items() if value != MOST}
            if any(name in merged for name in LIMITED):
                await self._put(LimitSettings.model_validate({**merged, "scope": scope, "id": limit_id}))
            elif known is not None:
                await self._delete(scope, limit_id)

    async def pass_on(self, scope: Scope, limit_id: str, successor_id: str) -> LimitSettings | None:
        """Set a subject's own limits on its successor too, wherever they were set; None if it has none."""
        async with self._database.turn(), self._changing:
            known, _ = self._set.get((scope, limit_id), (None, Origin.API))
            if known is None:
                return None
            passed = known.model_copy(update={"id": successor_id})
            await self._put(passed)
            return passed

    async def delete(self, scope: Scope, limit_id: str) -> None:
        """Remove a subject's limits.

        Raises:
            NotFound: it has none.
            Conflict: they stand in the configuration file.
        """
        async with self._database.turn(), self._changing:
            await self._delete(scope, limit_id)

    async def _put(self, settings: LimitSettings) -> bool:
        name = (settings.scope, settings.id)
        before, origin = self._set.get(name, (None, Origin.API))
        if before == settings:
            return False
        _check_changeable(*name, origin)
        await put_limit(self._database, LimitRow(settings.scope.value, settings.id, settings.wire()))
        self._set[name] = (settings, Origin.API)
        subject = self.subject(*name)
        self._limits[subject] = limits_of(settings)
        self._look_for_pairs()
        self._tell(subject)
        return True

    async def _delete(self, scope: Scope, limit_id: str) -> None:
        _, origin = self.get(scope, limit_id)
        _check_changeable(scope, limit_id, origin)
        await delete_limit(self._database, scope.value, limit_id)
        del self._set[scope, limit_id]
        subject = self.subject(scope, limit_id)
        del self._limits[subject]
        self._look_for_pairs()
        self._tell(subject)

    def _look_for_pairs(self) -> None:
        self._pairs = any(scope is Scope.PROJECT_DEPLOYMENT for scope, _ in self._set)

    def _tell(self, subject: Subject) -> None:
        for listener in self._listeners:
            listener(subject.scope, subject.id)


def _check_changeable(scope: Scope, limit_id: str, origin: Origin) -> None:
    if origin is Origin.CONFIG:
        raise Conflict(f"The limits of {scope} '{limit_id}' are defined in the configuration file; change them there.")


def limits_of(settings: LimitSettings) -> Limits:
    """What settings allow."""
    return Limits(*(getattr(settings, name) for name in LIMITED))


def effective(limits: Mapping[Subject, Limits], subject: Subject) -> Limits:
    """What a subject may use: each value of its own goes before that of `*`."""
    own = limits.get(subject)
    every = limits.get(Subject(subject.scope, EVERY))
    if own is None or every is None:
        return own or every or UNLIMITED
    values = [(getattr(own, name), getattr(every, name)) for name in LIMITED]
    return Limits(*(first if first is not None else second for first, second in values))
