"""Which policies are in force: those of the configuration file and the stored ones."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from freehold.errors import ConfigError, Conflict, NotFound
from freehold.governance.policy import PolicySet
from freehold.governance.policy_cases import CaseResult, require_cases, run_cases
from freehold.store.database import Database
from freehold.store.policies import PolicyRow, all_policies, delete_policy, put_policies
from freehold.types.deployment import DeploymentSettings, Origin
from freehold.types.policy import CaseSettings, PolicyRequest, PolicySettings


class PolicyRegistry:
    """All policies in memory; changes are written through to the database and hold from the next request on.

    The configuration file goes before the database: while a name stands in the file, the stored policy of that name is
    hidden, and the API cannot change it.

    Args:
        database: where they are stored.
        deployments: gives those there are, for the cases that come with a change.
        has_origin: tells whether a deployment's weights have a recorded origin; None where that is not known.
    """

    def __init__(
        self,
        database: Database,
        deployments: Callable[[], Iterable[DeploymentSettings]],
        has_origin: Callable[[DeploymentSettings], bool | None] = lambda _settings: None,
    ) -> None:
        self._database = database
        self._deployments = deployments
        self.has_origin = has_origin
        self._by_name: dict[str, tuple[PolicySettings, Origin]] = {}
        self._changing = asyncio.Lock()
        self.current = PolicySet()
        """What decides."""

    async def load(self, configured: Iterable[PolicySettings]) -> None:
        """Read the database, and add the configuration file's."""
        stored = [PolicySettings.model_validate(row.settings) for row in await all_policies(self._database)]
        self._by_name = {policy.name: (policy, Origin.API) for policy in stored}
        self._by_name |= {policy.name: (policy, Origin.CONFIG) for policy in configured}
        self._compile()

    def all(self) -> list[tuple[PolicySettings, Origin]]:
        """All policies and where each was set, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def get(self, name: str) -> tuple[PolicySettings, Origin]:
        """A policy, and where it was set.

        Raises:
            NotFound: there is none of that name.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(f"No policy has the name '{name}'.") from None

    def check(self, policies: Sequence[PolicySettings], cases: Sequence[CaseSettings]) -> list[CaseResult]:
        """What cases would come to with these policies added to those in force, or in their place.

        Raises:
            ConfigError: a name comes twice.
            Conflict: one stands in the configuration file.
        """
        changed = dict(self._by_name)
        for index, policy in enumerate(policies):
            if any(policy.name == other.name for other in policies[:index]):
                raise ConfigError(f"policy[{index}]: there is already a policy '{policy.name}'", param="policy")
            if self._by_name.get(policy.name, (None, Origin.API))[0] != policy:
                self._check_changeable(policy.name)
            changed[policy.name] = (policy, Origin.API)
        return run_cases(PolicySet(policy for policy, _ in changed.values()), cases, self._deployments())

    async def put(self, policies: Sequence[PolicySettings], cases: Sequence[CaseSettings] = ()) -> list[str]:
        """Set policies, or replace them, if the cases come out as expected with them: all or none.

        Returns:
            The names of those that were changed by it.

        Raises:
            ConfigError: a case does not come out as expected, or a name comes twice.
            Conflict: one stands in the configuration file.
        """
        async with self._database.turn(), self._changing:
            require_cases(self.check(policies, cases))
            changed = [p for p in policies if self._by_name.get(p.name, (None,))[0] != p]
            await put_policies(self._database, [PolicyRow(policy.name, policy.wire()) for policy in changed])
            self._by_name |= {policy.name: (policy, Origin.API) for policy in changed}
            self._compile()
        return [policy.name for policy in changed]

    async def delete(self, name: str) -> PolicySettings:
        """Remove a policy, and return what it was.

        Raises:
            NotFound: there is none of that name.
            Conflict: it stands in the configuration file.
        """
        async with self._database.turn(), self._changing:
            settings, _ = self.get(name)
            self._check_changeable(name)
            await delete_policy(self._database, name)
            del self._by_name[name]
            self._compile()
        return settings

    def _check_changeable(self, name: str) -> None:
        if self._by_name.get(name, (None, Origin.API))[1] is Origin.CONFIG:
            raise Conflict(f"The policy '{name}' is defined in the configuration file; change it there.")

    def _compile(self) -> None:
        self.current = PolicySet(policy for policy, _ in self._by_name.values())


def policy_request(
    *,
    organization_id: str,
    project_id: str,
    roles: frozenset[str],
    member_id: str,
    key_id: str,
    deployment: DeploymentSettings,
    origin: bool | None,
) -> PolicyRequest:
    """The words of policies for who asks for what."""
    return PolicyRequest(
        organization=organization_id,
        project=project_id,
        roles=roles,
        member=member_id,
        key=key_id,
        deployment=deployment.name,
        model=deployment.model,
        zone=deployment.zone or "",
        content_filter=deployment.content_filter,
        origin=origin,
    )
