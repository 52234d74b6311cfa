"""`/admin/limits`: what callers may use, and what they have used of it."""

from typing import Any

from fastapi import APIRouter, Request

from freehold.api.admin.door import allow, record
from freehold.gateway.leases_view import Uses
from freehold.gateway.ledger import Use
from freehold.governance.limits import LimitRegistry
from freehold.types.deployment import Origin
from freehold.types.identity import Action
from freehold.types.limits import EVERY, LimitSettings, Scope
from freehold.types.money import decimal_from_micro


def limit_routes(registry: LimitRegistry, uses: Uses) -> APIRouter:
    """The routes. Records of changes name an end user by the digest that receipts have, too."""
    router = APIRouter(tags=["limits"])

    @router.get("/limits", dependencies=[allow(Action.READ_LIMITS)])
    async def list_limits() -> dict[str, Any]:
        """All limits, each with what is used of it now."""
        entries = registry.all()
        single = [settings for settings, _ in entries if settings.id != EVERY]
        used = await uses.of([registry.subject(settings.scope, settings.id) for settings in single])
        by_subject = {(settings.scope, settings.id): use for settings, use in zip(single, used, strict=True)}
        return {
            "object": "list",
            "data": [_limit(*entry, by_subject.get((entry[0].scope, entry[0].id))) for entry in entries],
        }

    @router.put("/limits", dependencies=[allow(Action.WRITE_LIMITS)])
    async def put_limit(request: Request, body: LimitSettings) -> dict[str, Any]:
        """Set the limits of a subject, or replace them; they hold at once, and nothing that was used is forgotten."""
        before = next((known for known, _ in registry.all() if (known.scope, known.id) == (body.scope, body.id)), None)
        changed = await registry.put(body)
        record(
            request,
            "rate_limit.updated",
            "limit",
            str(registry.subject(body.scope, body.id)),
            before=None if before is None else before.wire(),
            after=body.wire(),
        )
        found = next(entry for entry in registry.all() if (entry[0].scope, entry[0].id) == (body.scope, body.id))
        single = [] if body.id == EVERY else await uses.of([registry.subject(body.scope, body.id)])
        return {**_limit(*found, single[0] if single else None), "changed": changed}

    @router.delete("/limits/{scope}/{limit_id:path}", dependencies=[allow(Action.WRITE_LIMITS)])
    async def delete_limit(request: Request, scope: Scope, limit_id: str) -> dict[str, Any]:
        """Remove the limits of a subject."""
        before, _ = registry.get(scope, limit_id)
        await registry.delete(scope, limit_id)
        record(request, "rate_limit.deleted", "limit", str(registry.subject(scope, limit_id)), before=before.wire())
        return {"object": "limit", "scope": scope.value, "id": limit_id, "deleted": True}

    return router


def _limit(settings: LimitSettings, origin: Origin, use: Use | None) -> dict[str, Any]:
    """A limit and its use; those of `*` are used by each subject by itself, so there is no one figure."""
    body = {"object": "limit", **settings.wire(), "origin": origin.value, "used": None}
    if use is not None:
        body["used"] = {
            "requests_per_minute": use.requests,
            "tokens_per_minute": use.tokens,
            "concurrent_requests": use.concurrent,
            "budget_per_day": decimal_from_micro(use.spent_day),
            "budget_per_day_reserved": decimal_from_micro(use.reserved_day),
            "day_ends_at": use.day_ends_at,
            "budget_per_month": decimal_from_micro(use.spent_month),
            "budget_per_month_reserved": decimal_from_micro(use.reserved_month),
            "month_ends_at": use.month_ends_at,
        }
    return body
