"""Everything of sign-in that lives as long as the service does."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from freehold.config import read_secret
from freehold.errors import ConfigError, InvalidRequest, NotFound
from freehold.governance.directory import Directory
from freehold.governance.invites import Invites
from freehold.identity.accounts import LocalAccounts
from freehold.identity.admission import Admission
from freehold.identity.bearer import Bearers
from freehold.identity.provider import Provider
from freehold.identity.sessions import Sessions
from freehold.identity.signins import SignIns
from freehold.identity.upkeep import IdentityUpkeep
from freehold.store.database import Database
from freehold.types.signin import IdentitySettings


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is there.

    Args:
        providers: by their names, in the order of the configuration.
        sessions: of browsers.
        accounts: with passwords.
        signins: through providers.
        admission: whom providers' words make somebody here.
        bearers: JWTs as bearer tokens.
    """

    providers: Mapping[str, Provider]
    sessions: Sessions
    accounts: LocalAccounts
    signins: SignIns
    admission: Admission
    bearers: Bearers

    def provider(self, name: str) -> Provider:
        """A provider by its name.

        Raises:
            NotFound: there is none.
        """
        try:
            return self.providers[name]
        except KeyError:
            raise NotFound("There is no identity provider of that name.") from None


@asynccontextmanager
async def open_identity(
    database: Database, directory: Directory, invites: Invites, settings: IdentitySettings, *, tidy: bool = True
) -> AsyncIterator[Identity]:
    """Open it, and close it at the end. With `tidy`, what has ended is deleted now and then.

    Raises:
        ConfigError: a provider's secret cannot be read, or a role or an organization does not exist.
    """
    _check(directory, settings)
    providers = {
        each.name: Provider(each, read_secret(each.client_secret) if each.client_secret else None)
        for each in settings.provider
    }
    sessions = Sessions(database, directory, settings)
    await sessions.load()
    admission = Admission(database, directory, invites)
    identity = Identity(
        providers,
        sessions,
        LocalAccounts(database, directory, invites, sessions, allowed=settings.local_accounts),
        SignIns(database),
        admission,
        Bearers(providers.values(), admission, directory),
    )
    upkeep = IdentityUpkeep(database, directory, sessions) if tidy else None
    if upkeep is not None:
        upkeep.start()
    try:
        yield identity
    finally:
        if upkeep is not None:
            await upkeep.stop()
        for provider in providers.values():
            await provider.close()


def _check(directory: Directory, settings: IdentitySettings) -> None:
    """See that what the providers' settings name is there."""
    for index, provider in enumerate(settings.provider):
        where = f"identity.provider[{index}]"
        try:
            directory.organization(provider.organization)
        except NotFound:
            raise ConfigError(
                f"{where}.organization: there is no organization '{provider.organization}'", param=where
            ) from None
        roles = {f"map[{number}].role": mapping.role for number, mapping in enumerate(provider.map)}
        if provider.default_role is not None:
            roles["default_role"] = provider.default_role
        for key, role in roles.items():
            try:
                directory.roles.check(role)
            except InvalidRequest as exc:
                raise ConfigError(f"{where}.{key}: {exc.message}", param=f"{where}.{key}") from None
