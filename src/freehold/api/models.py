"""`GET /models` and `GET /models/{id}`: a caller's models are this service's deployments."""

from typing import Any

from freehold.api.reply import Call, Reply
from freehold.catalog.deployments import Deployment


async def list_models(call: Call) -> Reply:
    """Every deployment that the caller may use, in OpenAI's shape."""
    return {"object": "list", "data": [_model(d, d.name) for d in call.gateway.models(call.principal)]}


async def retrieve_model(call: Call) -> Reply:
    """One deployment by its name or an alias, in OpenAI's shape."""
    name = call.path["model"]
    return _model(call.gateway.model(call.principal, name), name)


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
