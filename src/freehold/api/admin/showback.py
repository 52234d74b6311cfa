"""`/admin/usage/showback`: what each project used of the whole service, serving and training on one report."""

import time
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from freehold.api.admin.door import allow
from freehold.api.admin.usage import Form, Time, projection_object
from freehold.api.csv_table import MEDIA_TYPE, csv_text
from freehold.errors import InvalidRequest
from freehold.governance.directory import Directory
from freehold.journal.projection_reports import UsageReports
from freehold.store.usage_queries import UsageSum
from freehold.store.usage_training import TrainingSum
from freehold.types.identity import Action

FIGURES: Final = (
    "requests",
    "prompt_tokens",
    "completion_tokens",
    "images",
    "serving_micro",
    "trainings",
    "device_us",
    "core_us",
    "trained_tokens",
    "training_micro",
    "total_micro",
)
_NAMES: Final = ("organization_id", "organization", "project_id", "project")
_UNSERVED: Final = "other"
"""The kind of routes that are no requests to models; of these only fine-tuning has tokens, and a price."""


def showback_routes(reports: UsageReports, directory: Directory) -> APIRouter:
    """The route.

    Args:
        reports: what it reads.
        directory: what organizations and projects are called.
    """
    router = APIRouter(tags=["usage"])

    @router.get("/usage/showback", dependencies=[allow(Action.READ_USAGE)], response_model=None)
    async def read_showback(
        since: Time = 0, until: Time | None = None, form: Annotated[Form, Query(alias="format")] = Form.JSON
    ) -> dict[str, Any] | Response:
        """What each project used from `since` to before `until`, in seconds since the epoch, the dearest first.

        Requests to models count by when they began, trainings by when each stretch of their running did. `device_us`
        and `core_us` are accelerators and processor cores times microseconds; tokens and money of fine-tuning count
        as training. Money is in micro-units.
        """
        end_s = until if until is not None else int(time.time()) + 1
        if end_s <= since:
            raise InvalidRequest("'until' must be later than 'since'.", param="until")
        lines = _lines(directory, *await reports.showback(since, end_s))
        if form is Form.CSV:
            table = csv_text((*_NAMES, *FIGURES), [[line[name] for name in (*_NAMES, *FIGURES)] for line in lines])
            headers = {"content-disposition": 'attachment; filename="showback.csv"'}
            return Response(table, media_type=MEDIA_TYPE, headers=headers)
        return {
            "object": "usage.showback",
            "since": since,
            "until": end_s,
            "data": lines,
            "total": {name: sum(line[name] for line in lines) for name in FIGURES},
            "projection": projection_object(reports),
        }

    return router


def _lines(directory: Directory, served: Sequence[UsageSum], trained: Iterable[TrainingSum]) -> list[dict[str, Any]]:
    """A line for each project, the dearest first."""
    lines: dict[tuple[str, str], dict[str, int]] = {}
    for each in served:
        organization_id, project_id, kind = each.keys
        line = lines.setdefault((organization_id, project_id), dict.fromkeys(FIGURES, 0))
        if kind == _UNSERVED:
            line["trained_tokens"] += each.prompt_tokens
            line["training_micro"] += each.cost_micro
            continue
        line["requests"] += each.requests
        line["prompt_tokens"] += each.prompt_tokens
        line["completion_tokens"] += each.completion_tokens
        line["images"] += each.images
        line["serving_micro"] += each.cost_micro
    for one in trained:
        line = lines.setdefault((one.organization_id, one.project_id), dict.fromkeys(FIGURES, 0))
        line["trainings"] += one.trainings
        line["device_us"] += one.device_us
        line["core_us"] += one.core_us
        line["trained_tokens"] += one.tokens
        line["training_micro"] += one.cost_micro
    for line in lines.values():
        line["total_micro"] = line["serving_micro"] + line["training_micro"]
    used = {key: line for key, line in lines.items() if any(line.values())}
    ordered = sorted(used.items(), key=lambda each: (-each[1]["total_micro"], -each[1]["requests"], each[0]))
    return [_named(directory, *key) | line for key, line in ordered]


def _named(directory: Directory, organization_id: str, project_id: str) -> dict[str, Any]:
    """Whose a line is; names are those of now, and null where there is none any more."""
    organization = next((each.name for each in directory.organizations() if each.id == organization_id), None)
    projects = directory.projects(organization_id, archived=True) if organization is not None else ()
    project = next((each.name for each in projects if each.id == project_id), None)
    return dict(zip(_NAMES, (organization_id, organization, project_id, project), strict=True))
