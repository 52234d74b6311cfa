"""Azure's dialect: the route table under `/openai`, dated and undated.

In the dated form the deployment stands in the path and goes before a `model` in the body, and `api-version`
is required. Microsoft's clients send it as a query parameter; an answer 404 is what Azure gives without it.
"""

import dataclasses
import re

from starlette.routing import BaseRoute, Route

from freehold.api import (
    batches,
    conversations,
    evals,
    files,
    fine_tuning,
    graders,
    responses,
    stored_completions,
    uploads,
)
from freehold.api.chat import create_chat_completion
from freehold.api.completions import create_completion
from freehold.api.dialect import Dialect
from freehold.api.embeddings import create_embedding
from freehold.api.images import create_image, edit_image, vary_image
from freehold.api.models import delete_model, list_azure_models, retrieve_azure_model
from freehold.api.openai import MakeOperation, takes, v1_routes
from freehold.api.reply import Call, Handler, Reply
from freehold.api.stored_completions import list_deployment_completions
from freehold.errors import NotFound

API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?")


STORED = (
    *stored_completions.OPERATIONS,
    *files.OPERATIONS,
    *uploads.OPERATIONS,
    *responses.OPERATIONS,
    *conversations.OPERATIONS,
    *batches.OPERATIONS,
    *fine_tuning.OPERATIONS,
    *graders.OPERATIONS,
    *evals.OPERATIONS,
)
"""Operations on what is kept, which have no deployment in their path."""


def azure_routes(operation: MakeOperation) -> list[BaseRoute]:
    """The routes; `operation(route, handler, dialect, has_body=True, forms=Forms.NONE)` makes an endpoint."""
    in_deployment = "/openai/deployments/{deployment}"
    return [
        *v1_routes("/openai/v1", operation, Dialect.AZURE),
        *(
            Route(
                path,
                operation(path, _dated(handler), Dialect.AZURE, **takes(method, handler)),
                methods=[method],
            )
            for method, path, handler in (
                ("GET", "/openai/models", list_azure_models),
                ("GET", "/openai/models/{model:path}", retrieve_azure_model),
                ("DELETE", "/openai/models/{model:path}", delete_model),
                ("POST", f"{in_deployment}/chat/completions", create_chat_completion),
                ("POST", f"{in_deployment}/completions", create_completion),
                ("POST", f"{in_deployment}/embeddings", create_embedding),
                ("POST", f"{in_deployment}/images/generations", create_image),
                ("POST", f"{in_deployment}/images/edits", edit_image),
                ("POST", f"{in_deployment}/images/variations", vary_image),
                ("POST", "/openai/images/variations", vary_image),  # where Microsoft's client sends it
                ("GET", f"{in_deployment}/chat/completions", list_deployment_completions),
                *((method, f"/openai/{path}", handler) for method, path, handler in STORED),
            )
        ),
    ]


def _dated(handler: Handler) -> Handler:
    """The handler behind `api-version` and a deployment in the path."""

    async def handle(call: Call) -> Reply:
        if not API_VERSION.fullmatch(call.query.get("api-version", "")):
            raise NotFound("Resource not found", code="404")
        deployment = call.path.get("deployment")
        if deployment is not None:
            call = dataclasses.replace(call, body={**call.body, "model": deployment})
        return await handler(call)

    return handle
