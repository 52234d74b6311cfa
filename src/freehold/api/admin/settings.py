"""`/admin/settings`: the configuration that is in force, without a secret."""

import re
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel

from freehold.api.admin.door import allow
from freehold.config import Settings
from freehold.types.identity import Action

_CREDENTIALS: Final = re.compile(r"(?<=://)[^/?#\s]*(?=@)|(?<=\?)[^#\s]+")
"""Of a URL: who and with what, and its query, which often is a secret too."""


def settings_routes(settings: Settings) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["status"])

    @router.get("/settings", dependencies=[allow(Action.MANAGE)])
    async def show_settings() -> dict[str, Any]:
        """The sections of the configuration with all that holds, defaults too, and which keys the file has.

        Secrets are not in it: only where each is kept. What stands in a list of tables, such as deployments, is
        counted; it has routes of its own.
        """
        return settings_object(settings)

    return router


def settings_object(settings: Settings) -> dict[str, Any]:
    """The configuration as the API shows it."""
    sections: dict[str, Any] = {}
    given: list[str] = []
    tables: dict[str, int] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            sections[name] = _without_credentials(value.model_dump(mode="json"))
            given += [f"{name}.{key}" for key in sorted(value.model_fields_set)]
        else:
            tables[name] = len(value)
    return {"object": "settings", "settings": sections, "given": given, "tables": tables}


def _without_credentials(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_credentials(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_credentials(each) for each in value]
    return _CREDENTIALS.sub("***", value) if isinstance(value, str) else value
