"""`/admin/compliance`: what an assessor asks about first, as it is now, each fact from where it is decided.

It gives no verdict: which rules an organization follows, and whether these facts meet them, is for people to say.
"""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request

from freehold import __version__
from freehold.api.admin.door import allow, caller
from freehold.api.admin.journal import journal_object
from freehold.catalog.catalog import Catalog
from freehold.config import Settings
from freehold.content_filter.registry import FilterRegistry
from freehold.gateway.content_control import ContentControl
from freehold.gateway.control import DeploymentControl
from freehold.gateway.erasure import Erasure
from freehold.gateway.origins import Origins
from freehold.governance.directory import WHOLE, Directory
from freehold.governance.keys import KeyRing
from freehold.governance.policies import PolicyRegistry
from freehold.journal.journal import Journal
from freehold.journal.verification import Verifier
from freehold.types.identity import Action, MemberKind, Role


@dataclass(frozen=True, slots=True)
class ComplianceSources:
    """What the report reads.

    Args:
        directory: members and projects.
        keys: their API keys.
        control: what is deployed.
        catalog: which models there are.
        origins: whether where they come from is recorded.
        filters: content-filter policies.
        policies: which requests are allowed.
        content: keys and retention of kept content.
        erasure: what was erased.
        journal: where everything is recorded.
        verifier: says whether it is what was written.
        settings: how people sign in.
    """

    directory: Directory
    keys: KeyRing
    control: DeploymentControl
    catalog: Catalog
    origins: Origins
    filters: FilterRegistry
    policies: PolicyRegistry
    content: ContentControl
    erasure: Erasure
    journal: Journal
    verifier: Verifier
    settings: Settings


def compliance_routes(sources: ComplianceSources) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["audit"])

    @router.get("/compliance", dependencies=[allow(Action.READ_AUDIT)])
    async def report_compliance(request: Request) -> dict[str, Any]:
        """Retention, filters, access, encryption, audit, residency and models as they are now; no text of anybody."""
        organization_id = caller(request).organization_id
        return {
            "object": "compliance.report",
            "generated_at": int(time.time()),
            "version": __version__,
            "organization": {"id": organization_id, "name": sources.directory.organization(organization_id).name},
            "retention": _retention(sources, organization_id),
            "content_filter": _filters(sources),
            "policies": {
                "sha256": sources.policies.current.sha256,
                "names": [policy.name for policy, _ in sources.policies.all()],
            },
            "access": _access(sources, organization_id),
            "encryption": await _encryption(sources, organization_id),
            "audit": await journal_object(sources.journal, sources.verifier),
            "residency": _residency(sources),
            "models": await _models(sources),
            "erasures": len(await sources.erasure.all(organization_id)),
        }

    return router


def _retention(sources: ComplianceSources, organization_id: str) -> dict[str, Any]:
    projects = sources.directory.projects(organization_id)
    return {
        "organization": sources.content.retention(organization_id),
        "projects": [
            {"project_id": row.id, "name": row.name, **sources.content.retention(organization_id, row.id)}
            for row in projects
        ],
    }


def _filters(sources: ComplianceSources) -> dict[str, Any]:
    policies: list[dict[str, Any]] = [
        {
            "name": policy.name,
            "origin": origin.value,
            "off": policy.is_off,
            "mode": policy.mode,
            "on_error": policy.on_error,
            "keep_flagged": policy.keep_flagged,
            "deployments": sources.filters.used_by(policy.name),
        }
        for policy, origin in sources.filters.policies()
    ]
    unfiltered = sorted({name for policy in policies if policy["off"] for name in policy["deployments"]})
    return {"policies": policies, "unfiltered_deployments": unfiltered}


def _access(sources: ComplianceSources, organization_id: str) -> dict[str, Any]:
    directory, now = sources.directory, time.time()
    keys = [
        row
        for row in sources.keys.rows(organization_id)
        if row.revoked_at is None and (row.expires_at is None or row.expires_at > now)
    ]
    owners = {row.owner_id for row in keys} | {row.id for row in directory.users(organization_id)}
    members = [member for member in map(directory.member, owners) if member is not None]
    identity = sources.settings.identity
    return {
        "users": len(directory.users(organization_id)),
        "users_disabled": sum(row.disabled_at is not None for row in directory.users(organization_id)),
        "service_accounts_with_keys": sum(row.kind == MemberKind.SERVICE_ACCOUNT for row in members),
        "owners": sum(Role.OWNER in directory.held(row.id, WHOLE) for row in members),
        "keys": len(keys),
        "keys_without_expiry": sum(row.expires_at is None for row in keys),
        "oldest_key_created_at": min((row.created_at for row in keys), default=None),
        "sign_in": {
            "local_accounts": identity.local_accounts,
            "providers": [provider.name for provider in identity.provider],
            "session_idle_s": identity.session_idle_s,
            "session_max_s": identity.session_max_s,
        },
    }


async def _encryption(sources: ComplianceSources, organization_id: str) -> dict[str, Any]:
    name, _ = await sources.content.masters()
    rows = await sources.content.keys(organization_id)
    active = [row.created_at for row in rows if row.state == "active"]
    return {
        "master_key": name,
        "key_service": sources.settings.encryption.key_service is not None,
        "content_keys": dict(Counter(row.state.value for row in rows)),
        "oldest_active_content_key_created_at": min(active, default=None),
    }


def _residency(sources: ComplianceSources) -> list[dict[str, Any]]:
    """Where each deployment's model runs; a remote one by its host only."""
    found = []
    for view in sources.control.all():
        settings = view.deployment.settings
        host = urlsplit(settings.base_url).hostname if settings.base_url else None
        found.append({"deployment": settings.name, "zone": settings.zone, "engine": settings.engine, "host": host})
    return found


async def _models(sources: ComplianceSources) -> list[dict[str, Any]]:
    """The models of the catalog and those that deployments name: licence, source, digest, and who uses them."""
    used: dict[str, list[str]] = {}
    recorded: dict[str, bool] = {}
    for view in sources.control.all():
        settings = view.deployment.settings
        used.setdefault(settings.model, []).append(settings.name)
        recorded[settings.model] = sources.origins.has_origin(settings)
    entries = await sources.catalog.list()
    known = {name for entry in entries for name in (entry.name, entry.source)}
    found = [
        {
            "name": entry.name,
            "licence": entry.details.get("licence"),
            "source": entry.source,
            "sha256": entry.sha256,
            "pinned": bool(entry.details.get("pinned")),
            "parent": entry.details.get("parent"),
            "origin_recorded": recorded.get(entry.name, recorded.get(entry.source)),
            "deployments": sorted({*used.get(entry.name, ()), *used.get(entry.source, ())}),
        }
        for entry in entries
    ]
    return found + [
        {
            "name": name,
            "licence": None,
            "source": None,
            "sha256": None,
            "pinned": False,
            "parent": None,
            "origin_recorded": recorded[name],
            "deployments": deployments,
        }
        for name, deployments in used.items()
        if name not in known
    ]
