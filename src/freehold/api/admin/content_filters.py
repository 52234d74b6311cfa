"""`/admin/content_filters`: what is looked for in texts, and what becomes of what is found."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.blocklists import check_project, reached_project
from freehold.api.admin.door import allow, caller, record
from freehold.content_filter.filter import Filter
from freehold.content_filter.masking import masked
from freehold.content_filter.registry import FilterRegistry
from freehold.errors import Forbidden, InvalidRequest
from freehold.governance.directory import Directory
from freehold.types.base import SettingsModel
from freehold.types.content_filter import BlocklistSettings, Category, FilterSettings, Passage, Severity, Side, Source
from freehold.types.deployment import Origin
from freehold.types.identity import Action

READ, WRITE = allow(Action.READ_FILTERS, own_project=True), allow(Action.WRITE_FILTERS)
_MOST_TEXT = 100_000


class FiltersBody(SettingsModel):
    """Policies and blocklists that belong together."""

    content_filters: Annotated[list[FilterSettings], Field(default_factory=list, max_length=1000)]
    blocklists: Annotated[list[BlocklistSettings], Field(default_factory=list, max_length=1000)]


class TrialBody(BaseModel):
    """A text to try a policy on."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    text: Annotated[str, Field(min_length=1, max_length=_MOST_TEXT)]
    side: Side = Side.PROMPT
    source: Source | None = None
    """Who wrote it; without it the user of a prompt, the assistant of a completion."""
    project_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """Whose lists hold, too; without it those of the project in which the caller acts."""
    settings: FilterSettings | None = None
    """What the policy would be; without it what it is. For those who may change it."""

    def passage(self) -> Passage:
        """The text, as it is examined."""
        writer = Source.USER if self.side is Side.PROMPT else Source.ASSISTANT
        return Passage(self.text, self.side, self.source or writer)


def content_filter_routes(registry: FilterRegistry, directory: Directory) -> APIRouter:
    """The routes. Policies are the service's; who may read filters in a project only, may read and try them."""
    router = APIRouter(tags=["content filter"])

    @router.get("/content_filters", dependencies=[READ])
    async def list_content_filters() -> dict[str, Any]:
        """All policies by name."""
        return {"object": "list", "data": [_policy(registry, *entry) for entry in registry.policies()]}

    @router.get("/content_filters/{name}", dependencies=[READ])
    async def get_content_filter(name: str) -> dict[str, Any]:
        """One policy."""
        return _policy(registry, *registry.get(name))

    @router.put("/content_filters", dependencies=[WRITE])
    async def put_content_filters(request: Request, body: FiltersBody) -> dict[str, Any]:
        """Set several policies and blocklists, or replace them: all or none. Others stay."""
        return await _put_all(registry, directory, request, body)

    @router.put("/content_filters/{name}", dependencies=[WRITE])
    async def put_content_filter(request: Request, name: str, body: FilterSettings) -> dict[str, Any]:
        """Set a policy, or replace it; it holds from the next request on."""
        if body.name != name:
            raise InvalidRequest(f"name: must be '{name}', as in the path", param="name")
        before = registry.get(name)[0].wire() if registry.knows(name) else None
        changed, _ = await registry.put([body])
        record(request, "content_filter.updated", "content_filter", name, before=before, after=body.wire())
        return {**_policy(registry, *registry.get(name)), "changed": bool(changed)}

    @router.delete("/content_filters/{name}", dependencies=[WRITE])
    async def delete_content_filter(request: Request, name: str) -> dict[str, Any]:
        """Remove a policy; the built-in `default` comes back where it was replaced."""
        before = await registry.delete(name)
        record(request, "content_filter.deleted", "content_filter", name, before=before.wire())
        return {"object": "content_filter", "name": name, "deleted": True}

    @router.post("/content_filters/{name}/test", dependencies=[READ])
    async def test_content_filter(request: Request, name: str, body: TrialBody) -> dict[str, Any]:
        """What is found in a text under a policy, and what would become of it. The text is kept nowhere."""
        project_id = reached_project(request, directory, body.project_id)
        policy = _tried(registry, request, name, project_id, body.settings)
        record(request, "content_filter.tested", "content_filter", name, project_id=project_id or None)
        return await _tested(policy, name, project_id, body.passage())

    return router


async def _put_all(
    registry: FilterRegistry, directory: Directory, request: Request, body: FiltersBody
) -> dict[str, Any]:
    if not body.content_filters and not body.blocklists:
        raise InvalidRequest("There is nothing to set: give 'content_filters', 'blocklists' or both.")
    for each in body.blocklists:
        check_project(directory, each)
    before = _wires(registry)
    policies, lists = await registry.put(body.content_filters, body.blocklists)
    names = ",".join([each.name for each in body.content_filters] + [each.name for each in body.blocklists])
    record(request, "content_filter.updated", "content_filter", names, before=before, after=_wires(registry))
    data = [
        {**_policy(registry, *registry.get(each.name)), "changed": each.name in policies}
        for each in body.content_filters
    ]
    data += [
        {"object": "blocklist", "name": each.name, "item_count": len(each.items), "changed": each.name in lists}
        for each in body.blocklists
    ]
    return {"object": "list", "data": data}


def _wires(registry: FilterRegistry) -> dict[str, dict[str, Any]]:
    return {
        "content_filters": {policy.name: policy.wire() for policy, _ in registry.policies()},
        "blocklists": {each.name: each.wire() for each, _ in registry.lists()},
    }


def _tried(
    registry: FilterRegistry, request: Request, name: str, project_id: str, draft: FilterSettings | None
) -> Filter:
    """The policy that is to be tried: as it is, or as it would be.

    Raises:
        NotFound: there is none of that name, and it is not said what it would be.
        Forbidden: the caller may not change policies, so none is made for it to try.
        InvalidRequest: the draft has another name.
    """
    if draft is None:
        registry.get(name)
        return registry.filter(name, project_id)
    if Action.WRITE_FILTERS not in caller(request).organization_actions:
        raise Forbidden(
            f"You are not allowed to do this: to try 'settings' needs a role that gives '{Action.WRITE_FILTERS}' "
            "in the organization."
        )
    if draft.name != name:
        raise InvalidRequest(f"settings.name: must be '{name}', as in the path", param="settings.name")
    return registry.draft(draft, project_id)


async def _tested(policy: Filter, name: str, project_id: str, passage: Passage) -> dict[str, Any]:
    """What a policy makes of a text.

    Raises:
        FilterUnavailable: a model that the policy needs cannot be asked.
    """
    chain = policy.chain(passage.side)
    findings = await chain.examine(passage)
    judgement = policy.judge(findings, passage.side)
    return {
        "object": "content_filter.test",
        "policy": name,
        "sha256": policy.sha256,
        "project_id": project_id or None,
        "side": passage.side.value,
        "source": passage.source.value,
        "severities": {each.value: findings.severities.get(each, Severity.SAFE).label for each in Category},
        "scores": dict(findings.scores),
        "shields": sorted(shield.value for shield in findings.shields),
        "spans": [
            {"kind": span.kind, "name": span.name, "start": span.start, "end": span.end} for span in findings.spans
        ],
        "blocked": list(judgement.blocked),
        "masked": len(judgement.masked),
        "text": masked(passage.text, judgement.masked),
        "detectors": dict(chain.versions),
    }


def _policy(registry: FilterRegistry, settings: FilterSettings, origin: Origin) -> dict[str, Any]:
    return {
        "object": "content_filter",
        "name": settings.name,
        "origin": origin.value,
        "settings": settings.wire(),
        "deployments": registry.used_by(settings.name),
    }
