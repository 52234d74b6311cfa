"""`/admin/models`: the catalog. A pull answers with its progress, one JSON object a line."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from freehold.api.admin.door import allow, record
from freehold.api.dialect import Dialect, error_body
from freehold.catalog.catalog import Catalog
from freehold.errors import Conflict, FreeholdError
from freehold.gateway.control import DeploymentControl
from freehold.types.deployment import NAME_PATTERN
from freehold.types.identity import Action
from freehold.types.model import ModelEntry, Progress


class PullBody(BaseModel):
    """What to fetch: a starter model's name or a URI; under which name; with which digest; whether to convert it."""

    model_config = ConfigDict(extra="forbid")

    source: Annotated[str, Field(min_length=1, max_length=2048)]
    name: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    convert: bool = True
    """Whether safetensors of a language model become GGUF; without, they are kept as they are."""


def model_routes(catalog: Catalog, control: DeploymentControl) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["models"])

    @router.get("/models", dependencies=[allow(Action.READ_DEPLOYMENTS)])
    async def list_models() -> dict[str, Any]:
        """Every model on this machine."""
        return {"object": "list", "data": [entry.wire() for entry in await catalog.list()]}

    @router.post("/models", dependencies=[allow(Action.WRITE_MODELS)])
    async def pull_model(request: Request, body: PullBody) -> StreamingResponse:
        """Fetch a model. Lines of progress, then one with `model` or with `error`."""
        record(request, "model.pulled", "model", body.name or body.source, after=body.model_dump())
        return StreamingResponse(_pull(catalog, body), media_type="application/x-ndjson")

    @router.delete("/models/{name}", dependencies=[allow(Action.WRITE_MODELS)])
    async def delete_model(request: Request, name: str) -> dict[str, Any]:
        """Remove a model's files; 409 while a deployment uses it."""
        entry = await catalog.find(name)
        users = [
            view.deployment.name
            for view in control.all()
            if view.deployment.settings.model in {entry.name, entry.source}
        ]
        if users:
            raise Conflict(f"The model '{name}' is used by the deployment {', '.join(users)}; delete that first.")
        await catalog.delete(entry.name)
        record(request, "model.deleted", "model", entry.name, before=entry.wire())
        return {"object": "model", "name": entry.name, "deleted": True}

    return router


async def _pull(catalog: Catalog, body: PullBody) -> AsyncGenerator[bytes]:
    """The lines of a pull; closing them cancels it, and what was fetched stays for the next try."""
    lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def report(progress: Progress) -> None:
        lines.put_nowait(asdict(progress))

    async def work() -> ModelEntry:
        try:
            return await catalog.pull(
                body.source, name=body.name, sha256=body.sha256, convert=body.convert, progress=report
            )
        finally:
            lines.put_nowait(None)

    task = asyncio.create_task(work())
    try:
        while (line := await lines.get()) is not None:
            yield orjson.dumps(line) + b"\n"
        try:
            last: dict[str, Any] = {"model": (await task).wire()}
        except FreeholdError as exc:
            last = error_body(exc, Dialect.OPENAI)
        yield orjson.dumps(last) + b"\n"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
