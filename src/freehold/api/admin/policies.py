"""`/admin/policies`: which requests are allowed."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from freehold.errors import InvalidRequest
from freehold.governance.policies import PolicyRegistry
from freehold.types.base import SettingsModel
from freehold.types.deployment import Origin
from freehold.types.policy import CaseSettings, PolicySettings

Cases = Annotated[list[CaseSettings], Field(default_factory=list, max_length=1000)]


class PolicyBody(PolicySettings):
    """A policy, and cases that must come out as expected with it."""

    cases: Cases

    def settings(self) -> PolicySettings:
        """The policy."""
        return PolicySettings.model_validate(self.model_dump(exclude={"cases"}, exclude_unset=True))


class PoliciesBody(SettingsModel):
    """Several policies that belong together, and cases that must come out as expected with all of them."""

    policies: Annotated[list[PolicySettings], Field(min_length=1, max_length=1000)]
    cases: Cases


def policy_routes(registry: PolicyRegistry) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["policies"])

    @router.get("/policies")
    async def list_policies() -> dict[str, Any]:
        """All policies by name, and the digest under which receipts name the whole of them."""
        data = [_policy(*entry) for entry in registry.all()]
        return {"object": "list", "sha256": registry.current.sha256, "data": data}

    @router.get("/policies/{name}")
    async def get_policy(name: str) -> dict[str, Any]:
        """One policy."""
        return _policy(*registry.get(name))

    @router.put("/policies")
    async def put_policies(body: PoliciesBody) -> dict[str, Any]:
        """Set several policies, or replace them, if all cases come out as expected: all or none. Others stay."""
        changed = await registry.put(body.policies, body.cases)
        data = [{**_policy(*registry.get(policy.name)), "changed": policy.name in changed} for policy in body.policies]
        return {"object": "list", "sha256": registry.current.sha256, "data": data}

    @router.put("/policies/{name}")
    async def put_policy(name: str, body: PolicyBody) -> dict[str, Any]:
        """Set a policy, or replace it, if its cases come out as expected; it holds from the next request on."""
        settings = body.settings()
        if settings.name != name:
            raise InvalidRequest(f"name: must be '{name}', as in the path", param="name")
        changed = await registry.put([settings], body.cases)
        return {**_policy(*registry.get(name)), "changed": bool(changed)}

    @router.delete("/policies/{name}")
    async def delete_policy(name: str) -> dict[str, Any]:
        """Remove a policy."""
        await registry.delete(name)
        return {"object": "policy", "name": name, "deleted": True}

    return router


def _policy(settings: PolicySettings, origin: Origin) -> dict[str, Any]:
    return {"object": "policy", "name": settings.name, "origin": origin.value, "settings": settings.wire()}
