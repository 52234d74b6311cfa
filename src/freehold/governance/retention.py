"""How long kept content stays: what the configuration says, what an organization has set, what a project has set.

The nearest setting counts, but for zero retention: whoever is asked to keep nothing keeps nothing, so the configuration
goes before the organization, and the organization before its projects. Whose content may not be in the zone where the
database is, has nothing kept either.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from freehold.errors import PolicyDenied, UnsupportedParameter, ZeroRetention
from freehold.store.database import Database
from freehold.store.retention import RetentionRow, all_retention, put_retention
from freehold.types.content import FLAGGED, KINDS, ContentKind, RetentionOverride, RetentionSettings, RetentionType

UNSET = RetentionOverride()


@dataclass(frozen=True, slots=True)
class Retention:
    """What holds for one project.

    Args:
        zero: whether nothing is kept.
        store: whether completions are stored whose requests do not say.
        keep_s: how long each kind is kept, by its name; 0 is not at all.
    """

    zero: bool
    store: bool
    keep_s: Mapping[str, int]


class RetentionRegistry:
    """All of it in memory; changes are written through to the database.

    Args:
        database: where it is stored.
        defaults: the configuration's.
    """

    def __init__(self, database: Database, defaults: RetentionSettings) -> None:
        self._database = database
        self._zero = defaults.zero
        self._defaults = {kind.name: int(getattr(defaults, f"{kind.name}_s")) for kind in KINDS}
        self._set: dict[tuple[str, str], RetentionOverride] = {}
        self._effective: dict[tuple[str, str], Retention] = {}
        self._changing = asyncio.Lock()
        self._nothing = Retention(zero=True, store=False, keep_s=dict.fromkeys(self._defaults, 0))
        self._zone: str | None = None
        self._permits: Callable[[str, str], bool] = lambda _organization, _project: True

    def place(self, zone: str, permits: Callable[[str, str], bool]) -> None:
        """Keep nothing from now on of those whose content may not be where the database is.

        Args:
            zone: where it is.
            permits: whether content of a project may be there, by the ids of its organization and of itself.
        """
        self._zone, self._permits = zone, permits

    async def load(self) -> None:
        """Read the database."""
        self._set = {
            (row.organization_id, row.project_id): RetentionOverride.model_validate(row.settings)
            for row in await all_retention(self._database)
        }
        self._effective.clear()

    def get(self, organization_id: str, project_id: str = "") -> RetentionOverride:
        """What is set for a project, or for an organization; nothing where nothing is."""
        return self._set.get((organization_id, project_id), UNSET)

    def effective(self, organization_id: str, project_id: str = "") -> Retention:
        """What holds for a project, for what is kept from now on."""
        if not self._permits(organization_id, project_id):
            return self._nothing
        return self._wanted(organization_id, project_id)

    def _wanted(self, organization_id: str, project_id: str) -> Retention:
        """What is set for a project, wherever the database is."""
        found = self._effective.get((organization_id, project_id))
        if found is None:
            found = self._effective[organization_id, project_id] = self._combined(organization_id, project_id)
        return found

    def keep_s(self, organization_id: str, project_id: str, kind: ContentKind) -> int:
        """How long a project's content of a kind is kept from now on; 0 if none is."""
        return self.effective(organization_id, project_id).keep_s[kind.name]

    def may_stay_s(self, organization_id: str, project_id: str, kind: ContentKind) -> int:
        """How long what is kept already may have been kept: a policy about zones deletes nothing, erasure does."""
        return self._wanted(organization_id, project_id).keep_s[kind.name]

    def check_keeping(self, organization_id: str, project_id: str, param: str, instead: str = "") -> None:
        """Return if a project may have content kept.

        Args:
            organization_id: of the project.
            project_id: the project.
            param: what in the request asks for it.
            instead: what the caller can do.

        Raises:
            PolicyDenied: it may not be kept in the zone where the database is.
            ZeroRetention: nothing is kept for the project.
        """
        if not self._permits(organization_id, project_id):
            raise PolicyDenied(
                f"Policies do not let content of this project be kept in the zone '{self._zone}', where it would be: "
                f"what '{param}' asks for would keep some." + (f" {instead}" if instead else ""),
                param=param,
            )
        if self._wanted(organization_id, project_id).zero:
            raise ZeroRetention(
                f"Zero data retention is in force for this project: what '{param}' asks for would keep content."
                + (f" {instead}" if instead else ""),
                param=param,
            )

    def type_of(self, organization_id: str, project_id: str = "") -> RetentionType:
        """What is set, in the words of OpenAI's administration API."""
        given = self.get(organization_id, project_id).type
        if project_id:
            return given
        return "zero_data_retention" if self._wanted(organization_id, "").zero else "modified_abuse_monitoring"

    async def put(self, organization_id: str, project_id: str, settings: RetentionOverride) -> bool:
        """Set it for a project, or for an organization where the project's id is empty; false if it was so.

        Raises:
            UnsupportedParameter: an organization cannot have this type.
        """
        if not project_id and settings.type == "none":
            raise UnsupportedParameter("Unsupported value: 'type' of an organization cannot be 'none'.", param="type")
        async with self._database.turn(), self._changing:
            if self.get(organization_id, project_id) == settings:
                return False
            row = RetentionRow(organization_id, project_id, settings.model_dump(mode="json", exclude_defaults=True))
            await put_retention(self._database, row)
            self._set[organization_id, project_id] = settings
            self._effective.clear()
        return True

    def _combined(self, organization_id: str, project_id: str) -> Retention:
        organization = self.get(organization_id)
        project = self.get(organization_id, project_id) if project_id else UNSET
        zero = self._zero or "zero_data_retention" in {organization.type, project.type}
        if zero:
            return self._nothing
        store = next((each.store for each in (project, organization) if each.store is not None), False)
        keep_s = self._defaults | organization.keep_s | project.keep_s
        given = organization.type if project.type == "organization_default" else project.type
        if given == "modified_abuse_monitoring":
            keep_s[FLAGGED.name] = 0
        return Retention(zero=False, store=store, keep_s=keep_s)
