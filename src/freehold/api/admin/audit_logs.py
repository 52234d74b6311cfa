"""`/v1/organization/audit_logs`, as in OpenAI's administration API: what was changed in the organization, and by whom.

It tells the events that OpenAI's API knows, by OpenAI's names. What only Freehold has, such as `deployment.created`,
and the digests of what was changed, are told by `/admin/audit`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, TypeAlias

from fastapi import APIRouter, Query, Request
from fastapi.params import Depends as Dependency

from freehold.api.admin.audit import place_of, record_id
from freehold.api.admin.door import allow, caller
from freehold.api.admin.pages import After, Limit
from freehold.errors import InvalidRequest
from freehold.governance.directory import Directory
from freehold.journal.projection_reports import UsageReports
from freehold.store.audit_queries import ActionRow, AuditQuery
from freehold.types.identity import Action, MemberKind

TYPES: Final[Mapping[str, str]] = {
    **{f"api_key.{what}": f"api_key.{what}" for what in ("created", "updated", "deleted")},
    **{f"invite.{what}": f"invite.{what}" for what in ("sent", "accepted", "deleted")},
    **{f"login.{what}": f"login.{what}" for what in ("succeeded", "failed")},
    **{f"logout.{what}": f"logout.{what}" for what in ("succeeded", "failed")},
    "organization.updated": "organization.updated",
    **{f"project.{what}": f"project.{what}" for what in ("created", "updated", "archived", "deleted")},
    **{f"rate_limit.{what}": f"rate_limit.{what}" for what in ("updated", "deleted")},
    **{f"service_account.{what}": f"service_account.{what}" for what in ("created", "updated", "deleted")},
    **{f"user.{what}": f"user.{what}" for what in ("added", "updated", "deleted")},
    "user.removed": "user.deleted",
}
"""Event → what OpenAI calls it. To take a user out of a project is there a deletion with a `project`."""
_ROLE: Final = ("role",)
_LIMITS: Final = ("max_requests_per_1_minute", "max_tokens_per_1_minute")
_PAYLOAD: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "invite.sent": ("data", _ROLE),
    "service_account.created": ("data", _ROLE),
    "user.added": ("data", _ROLE),
    "service_account.updated": ("changes_requested", _ROLE),
    "user.updated": ("changes_requested", _ROLE),
    "rate_limit.updated": ("changes_requested", _LIMITS),
}
"""Where OpenAI has details of an event, and which of those that were recorded."""
_ALONE: Final = frozenset({"login.succeeded", "logout.succeeded"})
_FAILED: Final = frozenset({"login.failed", "logout.failed"})
_NEVER: Final = (
    "certificate.",
    "certificates.",
    "checkpoint.permission.",
    "external_key.",
    "external_storage.",
    "group.",
    "ip_allowlist.",
    "resource.",
    "role.",
    "scim.",
    "tunnel.",
    "workload_identity_provider.",
    "workload_identity_provider_mapping.",
)
"""Families of OpenAI's events that do not happen here."""
_TENANT: Final = ("tenant.", "role.bound_to_resource", "role.unbound_from_resource")

Seconds: TypeAlias = Annotated[int | None, Query(ge=0, le=253_402_300_800)]
Names: TypeAlias = Annotated[list[str] | None, Query()]
READ: Final[Dependency] = allow(Action.READ_AUDIT)


def audit_log_routes(directory: Directory, reports: UsageReports) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["audit logs"])

    @router.get("/audit_logs", dependencies=[READ])
    async def list_audit_logs(
        request: Request,
        later_than: Annotated[Seconds, Query(alias="effective_at[gt]")] = None,
        from_then: Annotated[Seconds, Query(alias="effective_at[gte]")] = None,
        earlier_than: Annotated[Seconds, Query(alias="effective_at[lt]")] = None,
        until_then: Annotated[Seconds, Query(alias="effective_at[lte]")] = None,
        project_ids: Annotated[Names, Query(alias="project_ids[]")] = None,
        event_types: Annotated[Names, Query(alias="event_types[]")] = None,
        actor_ids: Annotated[Names, Query(alias="actor_ids[]")] = None,
        actor_emails: Annotated[Names, Query(alias="actor_emails[]")] = None,
        resource_ids: Annotated[Names, Query(alias="resource_ids[]")] = None,
        limit: Limit = 20,
        after: After = None,
        before: After = None,
        *,
        tenant_only: bool = False,
    ) -> dict[str, Any]:
        """What was changed in the organization, newest first."""
        organization_id = caller(request).organization_id
        begins = [from_then, None if later_than is None else later_than + 1]
        ends = [earlier_than, None if until_then is None else until_then + 1]
        wanted = _events(event_types or (), tenant_only=tenant_only)
        query = AuditQuery(
            (organization_id,),
            wanted,
            project_ids or (),
            _actors(directory, organization_id, actor_ids, actor_emails),
            resource_ids or (),
            max((second * 1_000_000 for second in begins if second is not None), default=None),
            min((second * 1_000_000 for second in ends if second is not None), default=None),
            await place_of(reports, (organization_id,), after, "after"),
            await place_of(reports, (organization_id,), before, "before"),
            limit,
        )
        rows, more = await reports.actions(query) if wanted else ([], False)
        data = [_log(directory, organization_id, row) for row in rows]
        return {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": more,
        }

    return router


def _events(types: Sequence[str], *, tenant_only: bool) -> list[str]:
    """Our names of the events that are asked for; empty where none can be.

    Raises:
        InvalidRequest: OpenAI's API has no such type.
    """
    known = set(TYPES.values())
    for name in types:
        if tenant_only and not name.startswith(_TENANT):
            raise InvalidRequest(
                f"With 'tenant_only', '{name[:64]}' cannot be asked for: it is an organization's own event.",
                param="event_types",
            )
        if name not in known and not name.startswith((*_NEVER, "tenant.")):
            raise InvalidRequest(
                f"There is no event type '{name[:64]}' here; events of Freehold's own are read at '/admin/audit'.",
                param="event_types",
            )
    if tenant_only:
        return []
    return [event for event, name in TYPES.items() if not types or name in types]


def _actors(
    directory: Directory, organization_id: str, ids: Sequence[str] | None, emails: Sequence[str] | None
) -> list[str] | None:
    """The ids of those whose actions are asked for; None for everybody's."""
    if ids is None and emails is None:
        return None
    users = [directory.user_by_email(email) for email in emails or ()]
    return [*(ids or ()), *(row.id for row in users if row is not None and row.organization_id == organization_id)]


def _log(directory: Directory, organization_id: str, row: ActionRow) -> dict[str, Any]:
    body = row.body
    name = TYPES[body["event"]]
    log: dict[str, Any] = {
        "id": record_id(row),
        "type": name,
        "effective_at": row.place.recorded_at // 1_000_000,
        "actor": _actor(directory, body),
        name: _details(name, body),
    }
    project_id = body.get("resource_project_id")
    if project_id is not None:
        names = {project.id: project.name for project in directory.projects(organization_id, archived=True)}
        log["project"] = {"id": project_id, **({"name": names[project_id]} if project_id in names else {})}
    return log


def _details(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    if name in _ALONE:
        return {}
    if name in _FAILED:
        return {"error_code": body["code"]} if "code" in body else {}
    told: dict[str, Any] = {"id": body["resource_id"]} if "resource_id" in body else {}
    details = body.get("details", {})
    if name in _PAYLOAD:
        place, names = _PAYLOAD[name]
        told[place] = {each: details[each] for each in names if each in details}
    operations = details.get("scope", {}).get("operations") if name == "api_key.created" else None
    if operations is not None:
        told["data"] = {"scopes": operations}
    return told


def _actor(directory: Directory, body: Mapping[str, Any]) -> dict[str, Any] | None:
    """Who did it. An e-mail address is in no record: it is told while there is such a user."""
    member_id = body.get("principal")
    if member_id is None:
        return None
    member = directory.member(member_id)
    user = {"id": member_id, **({"email": member.email} if member is not None and member.email else {})}
    if "key_id" not in body:
        return {"type": "session", "session": {"user": user}}
    if body.get("principal_kind") == MemberKind.USER:
        return {"type": "api_key", "api_key": {"id": body["key_id"], "type": "user", "user": user}}
    account = {"id": body["key_id"], "type": "service_account", "service_account": {"id": member_id}}
    return {"type": "api_key", "api_key": account}
