"""Versions of models: which one of a family is the default, when one is retired, and who goes over to which.

A family, a version, whether a model is its family's default and when it is retired stand among the details of its entry
in the catalog. A deployment says by `upgrade` whether its model follows: `never`, as soon as there is a `new_default`,
or `at_retirement` of the model that it has.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from freehold.catalog.catalog import Catalog
from freehold.errors import Conflict, FreeholdError, ModelRetired
from freehold.gateway.control import DeploymentControl
from freehold.gateway.promotion import Promotions
from freehold.journal.records import utc
from freehold.types.deployment import DeploymentSettings, Origin
from freehold.types.model import ModelEntry, Retirement

log = structlog.get_logger(__name__)

FAMILY: Final = "family"
VERSION: Final = "version"
DEFAULT: Final = "default"
RETIRES_AT: Final = "retires_at"
ANNOUNCED_AT: Final = "retirement_announced_at"


class Versions:
    """What the catalog says of families and retirement, in memory.

    Args:
        catalog: where it is kept.
        clock: seconds since the epoch.
    """

    def __init__(self, catalog: Catalog, *, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._clock = clock
        self._entries: tuple[ModelEntry, ...] = ()
        self._by_reference: dict[str, ModelEntry] = {}
        self.stays: set[str] = set()
        """Deployments that could not go over to another model, whatever their `upgrade` says."""

    async def refresh(self) -> None:
        """Look again what the catalog says."""
        self._entries = tuple(await self._catalog.list())
        self._by_reference = {entry.source: entry for entry in reversed(self._entries)}
        self._by_reference |= {entry.name: entry for entry in self._entries}

    def retirement(self, settings: DeploymentSettings) -> Retirement | None:
        """When a deployment's model is retired; None if that is not set."""
        entry = self._by_reference.get(settings.model)
        if entry is None or RETIRES_AT not in entry.details:
            return None
        return Retirement(entry.details[ANNOUNCED_AT], entry.details[RETIRES_AT])

    def check(self, settings: DeploymentSettings) -> None:
        """Return if a deployment's model may still serve, or will be exchanged in a moment.

        Raises:
            ModelRetired: it is retired, and the deployment does not go over to another.
        """
        found = self.retirement(settings)
        if found is None or found.at > self._clock():
            return
        if settings.upgrade != "never" and settings.name not in self.stays and self.successor(settings) is not None:
            return
        raise ModelRetired(
            f"The model '{settings.model}' of the deployment '{settings.name}' was retired at {utc(found.at)[:19]}Z: "
            "have an administrator change the deployment to another model.",
            param="model",
        )

    def serves(self, settings: DeploymentSettings) -> bool:
        """Whether `check` returns."""
        try:
            self.check(settings)
        except ModelRetired:
            return False
        return True

    def names_of(self, name: str) -> tuple[str, ...]:
        """How deployments may name a model: by its name in the catalog, or by its source."""
        entry = self._by_reference.get(name)
        return (name,) if entry is None else (entry.name, entry.source)

    def successor(self, settings: DeploymentSettings) -> ModelEntry | None:
        """The default of the family of a deployment's model; None if that is the model itself, or there is none."""
        entry = self._by_reference.get(settings.model)
        family = entry.details.get(FAMILY) if entry else None
        if entry is None or family is None:
            return None
        chosen = (
            other for other in self._entries if other.details.get(FAMILY) == family and other.details.get(DEFAULT)
        )
        found = next(chosen, None)
        return None if found is None or found.name == entry.name else found

    def due(self, settings: DeploymentSettings) -> ModelEntry | None:
        """The model that a deployment should go over to now; None if it should stay as it is."""
        if settings.upgrade == "never":
            return None
        found = self.retirement(settings)
        if settings.upgrade == "at_retirement" and (found is None or found.at > self._clock()):
            return None
        return self.successor(settings)

    async def set_default(self, name: str, family: str | None, version: str | None) -> ModelEntry:
        """Make a model the default of its family; another one is that no more.

        Args:
            name: of the model.
            family: which family; without, the one that it is of.
            version: what the model is called in it, if that is to be changed.

        Raises:
            UnknownModel: there is no such model.
            Conflict: it is of no family and none is given, or it is to be retired.
        """
        entry = await self._catalog.find(name)
        known = family or entry.details.get(FAMILY)
        if known is None:
            raise Conflict(f"The model '{name}' is of no family: name one.", param="family")
        if RETIRES_AT in entry.details:
            raise Conflict(f"The model '{name}' is to be retired; take that back first.")
        for other in await self._catalog.list():
            if other.name != entry.name and other.details.get(FAMILY) == known and other.details.get(DEFAULT):
                await self._catalog.note(other.name, {DEFAULT: None})
        changed = await self._catalog.note(entry.name, _given({FAMILY: known, VERSION: version, DEFAULT: True}))
        await self.refresh()
        return changed

    async def retire(self, name: str, at: int | None) -> ModelEntry:
        """Set when a model is retired; None takes it back.

        Raises:
            UnknownModel: there is no such model.
        """
        entry = await self._catalog.find(name)
        announced = entry.details.get(ANNOUNCED_AT, int(self._clock())) if at is not None else None
        changed = await self._catalog.note(entry.name, {RETIRES_AT: at, ANNOUNCED_AT: announced})
        await self.refresh()
        return changed


class Upgrades:
    """Has deployments go over to the models that are due.

    Args:
        versions: knows which.
        control: changes deployments; their `promote_if` must hold.
        promotions: records it.
    """

    def __init__(self, versions: Versions, control: DeploymentControl, promotions: Promotions) -> None:
        self._versions = versions
        self._control = control
        self._promotions = promotions

    async def run(self) -> list[str]:
        """Do it now; the names of the deployments that went over. What is refused is logged, and tried again later."""
        done: list[str] = []
        await self._versions.refresh()
        for view in self._control.all():
            settings = view.deployment.settings
            new = self._versions.due(settings)
            if new is None:
                continue
            if view.deployment.origin is Origin.CONFIG:
                self._versions.stays.add(settings.name)
                log.warning("deployment_not_upgraded", deployment=settings.name, reason="it stands in the file")
                continue
            try:
                after = DeploymentSettings.model_validate({**settings.wire(), "model": new.name, "canary": None})
                await self._control.put(after)
                facts: Mapping[str, str] = {"decision": "upgraded", "upgrade": settings.upgrade}
                models = new.name, settings.model
                await self._promotions.record(settings.name, settings.project, models, facts, ())
            except FreeholdError as exc:
                self._versions.stays.add(settings.name)
                log.warning("deployment_not_upgraded", deployment=settings.name, to=new.name, reason=exc.message)
            else:
                self._versions.stays.discard(settings.name)
                log.info("deployment_upgraded", deployment=settings.name, before=settings.model, after=new.name)
                done.append(settings.name)
        return done


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
