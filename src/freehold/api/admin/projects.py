"""`/v1/organization/projects`, as in OpenAI's administration API."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, caller, record
from freehold.api.admin.pages import After, Limit, page
from freehold.api.door import Door
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.governance.directory import Directory
from freehold.governance.keys import KeyRing
from freehold.store.directory import ProjectRow
from freehold.types.identity import Action

ProjectName = Annotated[str, Field(min_length=1, max_length=256)]


class ProjectBody(BaseModel):
    """A project to be made or changed."""

    model_config = ConfigDict(extra="forbid")

    name: ProjectName | None = None
    external_key_id: str | None = None
    residency: str | None = None

    def new_name(self) -> str:
        """The name, which must be given; and nothing that cannot be done."""
        if self.external_key_id is not None:
            raise UnsupportedParameter(
                "external_key_id: the keys of projects are wrapped by the master key of the configuration.",
                param="external_key_id",
            )
        if self.residency not in {None, "GLOBAL"}:
            raise UnsupportedParameter("residency: data stay where the service runs.", param="residency")
        if self.name is None:
            raise InvalidRequest("Missing required parameter: 'name'.", param="name", code="missing_required_parameter")
        return self.name


def project_routes(directory: Directory, keys: KeyRing, door: Door) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["projects"])

    @router.get("/projects", dependencies=[allow(Action.READ_PROJECTS, own_project=True)])
    async def list_projects(
        request: Request, limit: Limit = 20, after: After = None, *, include_archived: bool = False
    ) -> dict[str, Any]:
        """The projects that the caller may see."""
        principal = caller(request)
        rows = directory.projects(principal.organization_id, archived=include_archived)
        seen = [row for row in rows if Action.READ_PROJECTS in door.actions_in(principal, row.id)]
        return page(seen, project_object, limit=limit, after=after)

    @router.post("/projects", dependencies=[allow(Action.WRITE_PROJECTS)])
    async def create_project(request: Request, body: ProjectBody) -> dict[str, Any]:
        """Make a project."""
        row = await directory.create_project(caller(request).organization_id, body.new_name())
        shown = project_object(row)
        record(request, "project.created", "project", row.id, after=shown, project_id=row.id)
        return shown

    @router.get("/projects/{project_id}", dependencies=[allow(Action.READ_PROJECTS)])
    async def retrieve_project(request: Request, project_id: str) -> dict[str, Any]:
        """One project."""
        return project_object(directory.project(caller(request).organization_id, project_id))

    @router.post("/projects/{project_id}", dependencies=[allow(Action.WRITE_PROJECTS)])
    async def modify_project(request: Request, project_id: str, body: ProjectBody) -> dict[str, Any]:
        """Rename a project."""
        organization_id = caller(request).organization_id
        before = project_object(directory.project(organization_id, project_id))
        shown = project_object(await directory.rename_project(organization_id, project_id, body.new_name()))
        record(request, "project.updated", "project", project_id, before=before, after=shown, project_id=project_id)
        return shown

    @router.post("/projects/{project_id}/archive", dependencies=[allow(Action.WRITE_PROJECTS)])
    async def archive_project(request: Request, project_id: str) -> dict[str, Any]:
        """Archive a project: its keys open nothing any more, and what runs in it ends at once."""
        organization_id = caller(request).organization_id
        before = project_object(directory.project(organization_id, project_id))
        shown = project_object(await directory.archive_project(organization_id, project_id))
        owned = [row.id for row in keys.rows(organization_id) if row.project_id == project_id and not row.revoked_at]
        if owned:
            await keys.revoke(*owned)
        record(request, "project.archived", "project", project_id, before=before, after=shown, project_id=project_id)
        return shown

    return router


def project_object(row: ProjectRow) -> dict[str, Any]:
    """A project as the API shows it."""
    return {
        "id": row.id,
        "object": "organization.project",
        "name": row.name,
        "created_at": row.created_at,
        "archived_at": row.archived_at,
        "status": "active" if row.archived_at is None else "archived",
    }
