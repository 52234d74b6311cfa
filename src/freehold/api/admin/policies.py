"""`/admin/policies`: which requests are allowed."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from freehold.api.admin.door import allow, record
from freehold.errors import InvalidRequest
from freehold.governance.policies import PolicyRegistry
from freehold.types.base import SettingsModel
from freehold.types.deployment import Origin
from freehold.types.identity import Action
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

    @router.get("/policies", dependencies=[allow(Action.READ_POLICIES)])
    async def list_policies() -> dict[str, Any]:
        """All policies by name, and the digest under which receipts name the whole of them."""
        data = [_policy(*entry) for entry in registry.all()]
        return {"object": "list", "sha256": registry.current.sha256, "data": data}

    @router.get("/policies/{name}", dependencies=[allow(Action.READ_POLICIES)])
    async def get_policy(name: str) -> dict[str, Any]:
        """One policy."""
        return _policy(*registry.get(name))

    @router.put("/policies", dependencies=[allow(Action.WRITE_POLICIES)])
    async def put_policies(request: Request, body: PoliciesBody) -> dict[str, Any]:
        """Set several policies, or replace them, if all cases come out as expected: all or none. Others stay."""
        before = _wires(registry)
        changed = await registry.put(body.policies, body.cases)
        names = ",".join(policy.name for policy in body.policies)
        record(request, "policy.updated", "policy", names, before=before, after=_wires(registry))
        data = [{**_policy(*registry.get(policy.name)), "changed": policy.name in changed} for policy in body.policies]
        return {"object": "list", "sha256": registry.current.sha256, "data": data}

    @router.put("/policies/{name}", dependencies=[allow(Action.WRITE_POLICIES)])
    async def put_policy(request: Request, name: str, body: PolicyBody) -> dict[str, Any]:
        """Set a policy, or replace it, if its cases come out as expected; it holds from the next request on."""
        settings = body.settings()
        if settings.name != name:
            raise InvalidRequest(f"name: must be '{name}', as in the path", param="name")
        before = _wires(registry).get(name)
        changed = await registry.put([settings], body.cases)
        record(request, "policy.updated", "policy", name, before=before, after=settings.wire())
        return {**_policy(*registry.get(name)), "changed": bool(changed)}

    @router.delete("/policies/{name}", dependencies=[allow(Action.WRITE_POLICIES)])
    async def delete_policy(request: Request, name: str) -> dict[str, Any]:
        """Remove a policy."""
        before = await registry.delete(name)
        record(request, "policy.deleted", "policy", name, before=before.wire())
        return {"object": "policy", "name": name, "deleted": True}

    return router


def _wires(registry: PolicyRegistry) -> dict[str, dict[str, Any]]:
    return {settings.name: settings.wire() for settings, _ in registry.all()}


def _policy(settings: PolicySettings, origin: Origin) -> dict[str, Any]:
    return {"object": "policy", "name": settings.name, "origin": origin.value, "settings": settings.wire()}
