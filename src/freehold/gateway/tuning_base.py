"""What can be fine-tuned: models of the catalog that write text, with the architecture of Llama."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from freehold.catalog.catalog import Catalog
from freehold.catalog.deployments import Deployment
from freehold.engines.registry import get_engine
from freehold.errors import DeploymentNotFound, InvalidRequest, UnknownModel
from freehold.types.deployment import DeploymentSettings, Origin
from freehold.types.fine_tuning import PREFIX
from freehold.types.identity import Principal
from freehold.types.model import ModelEntry

ARCHITECTURES: Final = frozenset({"llama"})
"""Those that the trainer knows."""
_LISTED: Final = 10
"""How many names an error tells."""


class Access(Protocol):
    """What there is for a caller; see `freehold.gateway.pipeline.Gateway`."""

    def models(self, principal: Principal) -> list[Deployment]:
        """See `Gateway.models`."""

    def model(self, principal: Principal, name: str) -> Deployment:
        """See `Gateway.model`."""

    def is_open(self, principal: Principal, deployment: Deployment) -> bool:
        """See `Gateway.is_open`."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a job starts from.

    Args:
        name: as the job names it.
        settings: of the deployment of that name; of a model that has none, those that one would have by default.
    """

    name: str
    settings: DeploymentSettings


class Bases:
    """Finds what jobs name.

    Args:
        catalog: the models of the home.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def find(self, access: Access, principal: Principal, name: str) -> Base:
        """The base that a caller means by the name of a deployment, an alias or a model.

        Raises:
            DeploymentNotFound: there is none for the caller.
            InvalidRequest: it cannot be trained; the message names what can be.
        """
        try:
            settings = access.model(principal, name).settings
        except DeploymentNotFound:
            settings = (await self._undeployed(access, principal, name)).settings
            name = settings.name
        why = await self._why_not(settings)
        if why is not None:
            possible = [d.name for d in access.models(principal) if self._objection(d.settings) is None]
            told = f"; possible are {', '.join(possible[:_LISTED])}" if possible else ""
            raise InvalidRequest(
                f"The model '{name[:64]}' cannot be fine-tuned: {why}{told}.", param="model", code="model_not_tunable"
            )
        return Base(name, settings)

    async def tunable(self, settings: DeploymentSettings) -> bool:
        """Whether a deployment's model can be trained, as far as is known of it."""
        return await self._why_not(settings) is None

    async def entry(self, base: Base) -> ModelEntry:
        """The model of a base, fetched where it is missing.

        Raises:
            InvalidRequest: it cannot be trained.
            CatalogError: it cannot be fetched.
        """
        try:
            entry = await self._catalog.find(base.settings.model)
        except UnknownModel:
            entry = await self._catalog.pull(base.settings.model)
        why = objection(entry)
        if why is not None:
            raise InvalidRequest(
                f"The model '{base.name}' cannot be fine-tuned: {why}.", param="model", code="model_not_tunable"
            )
        return entry

    def path(self, entry: ModelEntry) -> Path:
        """The verified file of a model."""
        return self._catalog.path(entry)

    async def _undeployed(self, access: Access, principal: Principal, name: str) -> Deployment:
        """A model of the catalog that no deployment has, as one would serve it.

        Raises:
            DeploymentNotFound: there is none for the caller.
        """
        try:
            entry = await self._catalog.find(name)
        except UnknownModel:
            raise DeploymentNotFound(name) from None
        deployment = Deployment(
            DeploymentSettings(name=entry.name, model=entry.name, project=project_of(entry)),
            Origin.API,
            entry.created_at,
        )
        if not access.is_open(principal, deployment):
            raise DeploymentNotFound(name)
        return deployment

    async def _why_not(self, settings: DeploymentSettings) -> str | None:
        """Why a deployment's model cannot be trained; None if it can, or is not here yet."""
        why = self._objection(settings)
        if why is not None:
            return why
        try:
            return objection(await self._catalog.find(settings.model))
        except UnknownModel:
            return None  # it comes with the deployment's first start, or with the job

    def _objection(self, settings: DeploymentSettings) -> str | None:
        """Why a deployment's model cannot be trained, as far as the settings tell."""
        if settings.task != "chat":
            return f"it is for {settings.task}, and only models that write text can be"
        if not get_engine(settings.engine).needs_weights:
            return f"its engine '{settings.engine}' has no weights here"
        return None


def objection(entry: ModelEntry) -> str | None:
    """Why a model of the catalog cannot be trained; None if it can."""
    if entry.format == "lora":
        return 'it is an adapter; train it again with \'export\' "f16" or "q8_0" to train it further'
    if entry.format == "transformers":
        return "it was pulled with --no-convert; pull it again without, under another name"
    architecture = entry.details.get("architecture")
    if entry.format == "openvino" or architecture not in ARCHITECTURES:
        return f"its architecture is '{architecture}', and only that of Llama can be"
    if entry.details.get("task") != "chat":
        return f"it is for {entry.details.get('task')}, and only models that write text can be"
    return None


def project_of(entry: ModelEntry) -> str | None:
    """The project whose own a model is; None if it is everybody's."""
    details: Mapping[str, Any] = entry.details
    return details.get("project") if entry.name.startswith(PREFIX) else None
