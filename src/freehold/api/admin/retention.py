"""How long content is kept: OpenAI's `data_retention`, and `retention`, which says for each kind how long."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from freehold.api.admin.door import allow, caller, record
from freehold.errors import UnsupportedParameter
from freehold.gateway.content_control import ContentControl
from freehold.governance.directory import Directory
from freehold.types.content import RetentionOverride
from freehold.types.identity import Action

READ, WRITE = allow(Action.READ_RETENTION), allow(Action.WRITE_RETENTION)
_ENHANCED = "enhanced_"


class DataRetentionBody(BaseModel):
    """`UpdateOrganizationDataRetentionBody`."""

    model_config = ConfigDict(extra="forbid")

    retention_type: Literal[
        "zero_data_retention",
        "modified_abuse_monitoring",
        "enhanced_zero_data_retention",
        "enhanced_modified_abuse_monitoring",
    ]


class ProjectDataRetentionBody(BaseModel):
    """`UpdateProjectDataRetentionBody`."""

    model_config = ConfigDict(extra="forbid")

    retention_type: Literal[
        "organization_default",
        "none",
        "zero_data_retention",
        "modified_abuse_monitoring",
        "enhanced_zero_data_retention",
        "enhanced_modified_abuse_monitoring",
    ]


def data_retention_routes(content: ContentControl, directory: Directory) -> APIRouter:
    """The routes of OpenAI's administration API."""
    router = APIRouter(tags=["data retention"])

    @router.get("/data_retention", dependencies=[READ])
    async def retrieve_organization(request: Request) -> dict[str, Any]:
        """How much is kept for the organization."""
        return _data_retention(content, caller(request).organization_id, "")

    @router.post("/data_retention", dependencies=[WRITE])
    async def update_organization(request: Request, body: DataRetentionBody) -> dict[str, Any]:
        """Set it; zero retention holds for every project."""
        organization_id = caller(request).organization_id
        before = content.retention(organization_id)
        await content.set_type(organization_id, "", _settings(body.retention_type))
        _record(request, content, organization_id, "", before)
        return _data_retention(content, organization_id, "")

    @router.get("/projects/{project_id}/data_retention", dependencies=[READ])
    async def retrieve_project(request: Request, project_id: str) -> dict[str, Any]:
        """How much is kept for a project."""
        return _data_retention(content, caller(request).organization_id, project_id)

    @router.post("/projects/{project_id}/data_retention", dependencies=[WRITE])
    async def update_project(request: Request, project_id: str, body: ProjectDataRetentionBody) -> dict[str, Any]:
        """Set it for a project."""
        organization_id = directory.active_project(caller(request).organization_id, project_id).organization_id
        before = content.retention(organization_id, project_id)
        await content.set_type(organization_id, project_id, _settings(body.retention_type))
        _record(request, content, organization_id, project_id, before)
        return _data_retention(content, organization_id, project_id)

    return router


def retention_routes(content: ContentControl, directory: Directory) -> APIRouter:
    """The routes of Freehold's own."""
    router = APIRouter(tags=["data retention"])

    @router.get("/retention", dependencies=[READ])
    async def get_organization(request: Request) -> dict[str, Any]:
        """What is set for the organization, and what holds."""
        return _retention(content, caller(request).organization_id, "")

    @router.put("/retention", dependencies=[WRITE])
    async def put_organization(request: Request, body: RetentionOverride) -> dict[str, Any]:
        """Set it; what may not stay any more goes now, and is counted in `deleted`."""
        return await _put(request, content, caller(request).organization_id, "", body)

    @router.get("/projects/{project_id}/retention", dependencies=[READ])
    async def get_project(request: Request, project_id: str) -> dict[str, Any]:
        """What is set for a project, and what holds."""
        return _retention(content, caller(request).organization_id, project_id)

    @router.put("/projects/{project_id}/retention", dependencies=[WRITE])
    async def put_project(request: Request, project_id: str, body: RetentionOverride) -> dict[str, Any]:
        """Set it for a project; as for the organization."""
        organization_id = directory.active_project(caller(request).organization_id, project_id).organization_id
        return await _put(request, content, organization_id, project_id, body)

    return router


async def _put(
    request: Request, content: ContentControl, organization_id: str, project_id: str, body: RetentionOverride
) -> dict[str, Any]:
    before = content.retention(organization_id, project_id)
    deleted = await content.set_retention(organization_id, project_id, body)
    _record(request, content, organization_id, project_id, before)
    return {**_retention(content, organization_id, project_id), "deleted": deleted}


def _record(
    request: Request, content: ContentControl, organization_id: str, project_id: str, before: dict[str, Any]
) -> None:
    record(
        request,
        "retention.updated",
        "retention",
        project_id or organization_id,
        before=before,
        after=content.retention(organization_id, project_id),
        project_id=project_id or None,
    )


def _settings(retention_type: str) -> RetentionOverride:
    """What is asked for.

    Raises:
        UnsupportedParameter: there is no such type here.
    """
    if retention_type.startswith(_ENHANCED):
        raise UnsupportedParameter(
            "Unsupported value: 'retention_type': monitoring reads no text by itself, so there is no enhanced form: "
            f"use '{retention_type.removeprefix(_ENHANCED)}'.",
            param="retention_type",
        )
    return RetentionOverride.model_validate({"type": retention_type})


def _data_retention(content: ContentControl, organization_id: str, project_id: str) -> dict[str, Any]:
    """`OrganizationDataRetention` or `ProjectDataRetention`."""
    kind = "project" if project_id else "organization"
    return {"object": f"{kind}.data_retention", "type": content.retention(organization_id, project_id)["type"]}


def _retention(content: ContentControl, organization_id: str, project_id: str) -> dict[str, Any]:
    named = {"organization_id": organization_id, "project_id": project_id or None}
    return {"object": "retention", **named, **content.retention(organization_id, project_id)}
