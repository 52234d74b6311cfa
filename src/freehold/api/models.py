"""`GET /models` and `GET /models/{id}`: a caller's models are this service's deployments."""

from collections.abc import Sequence
from typing import Any, Final

from freehold.api.reply import Call, Reply
from freehold.catalog.deployments import Deployment
from freehold.errors import InvalidRequest
from freehold.gateway.model_details import ModelDetail
from freehold.types.engine import Feature

_MADE: Final = {"chat": "text", "embeddings": "embedding", "images": "image"}
"""What comes of a task."""


async def list_models(call: Call) -> Reply:
    """Every deployment that the caller may use, in OpenAI's shape."""
    found = call.gateway.models(call.principal)
    return {"object": "list", "data": [_told(call, each, each.name, found) for each in found]}


async def retrieve_model(call: Call) -> Reply:
    """One deployment by its name or an alias, in OpenAI's shape."""
    name = call.path["model"]
    return _told(call, call.gateway.model(call.principal, name), name)


async def list_azure_models(call: Call) -> Reply:
    """Every deployment that the caller may use, in Azure's shape."""
    return {
        "object": "list",
        "data": [await _azure_model(call, d, d.name) for d in call.gateway.models(call.principal)],
    }


async def retrieve_azure_model(call: Call) -> Reply:
    """One deployment by its name or an alias, in Azure's shape."""
    name = call.path["model"]
    return await _azure_model(call, call.gateway.model(call.principal, name), name)


async def delete_model(call: Call) -> Reply:
    """Remove a model that a fine-tuning job of the caller's project has made, and its deployment."""
    name = call.path["model"]
    await call.gateway.fine_tuning.models.delete(call.principal, name)
    return {"id": name, "object": "model", "deleted": True}


def _told(call: Call, deployment: Deployment, name: str, visible: Sequence[Deployment] = ()) -> dict[str, Any]:
    """A model and, with `details=true`, what there is to know of it, which is Freehold's own.

    Raises:
        InvalidRequest: `details` is neither true nor false.
    """
    wanted = call.query.get("details", "false")
    if wanted not in {"true", "false"}:
        raise InvalidRequest("'details' must be 'true' or 'false'.", param="details")
    if wanted == "false":
        return _model(deployment, name)
    others = visible or call.gateway.models(call.principal)
    return {
        **_model(deployment, name),
        "details": _details(call.gateway.details.of(call.principal, deployment, others)),
    }


def _details(found: ModelDetail) -> dict[str, Any]:
    settings, traits = found.deployment.settings, found.traits
    sees = Feature.VISION in traits.features or (settings.task == "images" and Feature.IMAGE_EDITS in traits.features)
    return {
        "description": settings.description,
        "aliases": settings.aliases,
        "model": settings.model,
        "task": settings.task,
        "default": found.is_default,
        "state": found.state,
        "operations": found.operations,
        "features": sorted(traits.features),
        "input": ["text", "image"] if sees else ["text"],
        "output": [_MADE[settings.task]],
        "context_length": traits.context_length if settings.task != "images" else None,
        "embedding_dimensions": traits.embedding_dimensions if settings.task == "embeddings" else None,
        "sizes": traits.sizes,
        "price": None if found.price is None else found.price.wire(),
        "project": settings.project,
    }


def _model(deployment: Deployment, name: str) -> dict[str, Any]:
    owner = deployment.settings.project or "freehold"
    return {"id": name, "object": "model", "created": deployment.created_at, "owned_by": owner}


async def _azure_model(call: Call, deployment: Deployment, name: str) -> dict[str, Any]:
    chat = deployment.settings.task == "chat"
    return {
        "id": name,
        "object": "model",
        "created_at": deployment.created_at,
        "status": "succeeded",
        "lifecycle_status": "generally-available",
        "capabilities": {
            "inference": True,
            "fine_tune": await call.gateway.fine_tuning.parts.bases.tunable(deployment.settings),
            "completion": chat,
            "chat_completion": chat,
            "embeddings": deployment.settings.task == "embeddings",
        },
    }
