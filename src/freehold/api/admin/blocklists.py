"""`/admin/blocklists`: terms and patterns that are looked for in texts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from freehold.api.admin.door import actions_at, allow, caller, record
from freehold.content_filter.registry import FilterRegistry, no_list
from freehold.errors import Forbidden, InvalidRequest
from freehold.governance.directory import Directory, absent
from freehold.types.content_filter import MAX_ITEMS, BlocklistItem, BlocklistSettings
from freehold.types.deployment import Origin
from freehold.types.identity import Action

READ = allow(Action.READ_FILTERS, own_project=True)
WRITE = allow(Action.WRITE_FILTERS, own_project=True)

Text = Annotated[str | None, Query(min_length=1, max_length=256)]


class ItemsBody(BaseModel):
    """Items for a list."""

    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[BlocklistItem], Field(min_length=1, max_length=MAX_ITEMS)]


def blocklist_routes(registry: FilterRegistry, directory: Directory) -> APIRouter:
    """The routes. Who may read or change filters in a project only, sees and changes the lists of the project."""
    router = APIRouter(tags=["content filter"])

    @router.get("/blocklists", dependencies=[READ])
    async def list_blocklists(request: Request) -> dict[str, Any]:
        """The lists by name, without their items."""
        seen = [entry for entry in registry.lists() if _reaches(request, Action.READ_FILTERS, entry[0])]
        return {"object": "list", "data": [_list(registry, *entry) for entry in seen]}

    @router.get("/blocklists/{name}", dependencies=[READ])
    async def get_blocklist(request: Request, name: str) -> dict[str, Any]:
        """One list, with its items."""
        return _list(registry, *_find(registry, request, Action.READ_FILTERS, name), items=True)

    @router.put("/blocklists/{name}", dependencies=[WRITE])
    async def put_blocklist(request: Request, name: str, body: BlocklistSettings) -> dict[str, Any]:
        """Set a list with all its items, or replace it; it holds from the next request on."""
        if body.name != name:
            raise InvalidRequest(f"name: must be '{name}', as in the path", param="name")
        _check_own(request, body)
        check_project(directory, body)
        there = any(name == known.name for known, _ in registry.lists())
        before = _find(registry, request, Action.WRITE_FILTERS, name)[0] if there else None
        _, changed = await registry.put(lists=[body])
        _record(request, "blocklist.updated", before, body)
        return {**_list(registry, *registry.get_list(name)), "changed": bool(changed)}

    @router.delete("/blocklists/{name}", dependencies=[WRITE])
    async def delete_blocklist(request: Request, name: str) -> dict[str, Any]:
        """Remove a list."""
        _find(registry, request, Action.WRITE_FILTERS, name)
        before = await registry.delete_list(name)
        _record(request, "blocklist.deleted", before, None)
        return {"object": "blocklist", "name": name, "deleted": True}

    @router.post("/blocklists/{name}/items", dependencies=[WRITE])
    async def add_items(request: Request, name: str, body: ItemsBody) -> dict[str, Any]:
        """Add items to a list; those that are there already stay as they are."""
        _find(registry, request, Action.WRITE_FILTERS, name)
        before, after = await registry.add_items(name, body.items)
        _record(request, "blocklist.updated", before, after)
        return {**_list(registry, *registry.get_list(name)), "added": len(after.items) - len(before.items)}

    @router.delete("/blocklists/{name}/items", dependencies=[WRITE])
    async def remove_item(request: Request, name: str, term: Text = None, pattern: Text = None) -> dict[str, Any]:
        """Take an item off a list: the one with this `term`, or with this `pattern`."""
        _find(registry, request, Action.WRITE_FILTERS, name)
        before, after = await registry.remove_item(name, _item(term, pattern))
        _record(request, "blocklist.updated", before, after)
        return {**_list(registry, *registry.get_list(name)), "removed": len(before.items) - len(after.items)}

    return router


def check_project(directory: Directory, settings: BlocklistSettings) -> None:
    """Raise InvalidRequest if a list would be a project's that there is not, and so hold for nobody."""
    if settings.project is not None and not _exists(directory, settings.project):
        raise InvalidRequest(
            f"project: there is no project '{settings.project}' that is in use; give its id.", param="project"
        )


def reached_project(request: Request, directory: Directory, project_id: str | None) -> str:
    """The project that the caller means, or acts in; `WHOLE` where it is none.

    Raises:
        NotFound: there is none of that id in which the caller may read filters.
    """
    principal = caller(request)
    if project_id is None:
        return principal.project_id
    everywhere = Action.READ_FILTERS in principal.organization_actions
    if not _exists(directory, project_id) or not (everywhere or Action.READ_FILTERS in actions_at(request, project_id)):
        raise absent("project", project_id)
    return project_id


def _exists(directory: Directory, project_id: str) -> bool:
    return any(
        project.id == project_id
        for organization in directory.organizations()
        for project in directory.projects(organization.id)
    )


def _reaches(request: Request, action: Action, settings: BlocklistSettings) -> bool:
    """Whether the caller may do this to the list: in the organization, or in the project whose own it is."""
    return action in caller(request).organization_actions or (
        settings.project is not None and action in actions_at(request, settings.project)
    )


def _find(registry: FilterRegistry, request: Request, action: Action, name: str) -> tuple[BlocklistSettings, Origin]:
    """A list that exists for the caller. Raises NotFound."""
    settings, origin = registry.get_list(name)
    if not _reaches(request, action, settings):
        raise no_list(name)
    return settings, origin


def _check_own(request: Request, settings: BlocklistSettings) -> None:
    """Raise Forbidden if the list would be one that the caller may not have."""
    if not _reaches(request, Action.WRITE_FILTERS, settings):
        raise Forbidden(
            "You may only keep blocklists of your own project: set 'project' to its id, "
            f"'{caller(request).project_id}'."
        )


def _item(term: str | None, pattern: str | None) -> BlocklistItem:
    try:
        return BlocklistItem(term=term, pattern=pattern)
    except ValidationError as exc:
        raise InvalidRequest("Give either 'term', of at most 128 characters, or 'pattern'.", param="term") from exc


def _record(request: Request, event: str, before: BlocklistSettings | None, after: BlocklistSettings | None) -> None:
    """Tell what was changed; items stay out of the journal, but for how many there are."""
    settings = after or before
    assert settings is not None
    record(
        request,
        event,
        "blocklist",
        settings.name,
        before=None if before is None else before.wire(),
        after=None if after is None else after.wire(),
        project_id=settings.project,
        details=None if after is None else {"items": len(after.items)},
    )


def _list(
    registry: FilterRegistry, settings: BlocklistSettings, origin: Origin, *, items: bool = False
) -> dict[str, Any]:
    wire = settings.wire()
    if not items:
        wire.pop("items", None)
    return {
        "object": "blocklist",
        "name": settings.name,
        "origin": origin.value,
        "settings": wire,
        "item_count": len(settings.items),
        "policies": registry.naming(settings.name),
    }
